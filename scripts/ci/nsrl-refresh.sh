#!/usr/bin/env bash
# One quarterly refresh of a table from NIST's NSRL RDS: finds the release, fetches
# its parts, makes the sorted list of its hashes, writes the difference to
# the previous list, verifies a sample, and records the release.
#
#   STATE=s3://my-bucket/nsrl/ TABLE=sha256 scripts/ci/nsrl-refresh.sh
#
# After any failure, the same command resumes the run. Environment:
#
#   STATE            folder or s3://bucket/prefix/ that outlives the run (required)
#   TABLE            the table (required)
#   NSRL_RELEASE     YYYY.MM.P         [default: the newest published release]
#   NSRL_SET         modern_minimal, legacy_minimal, android_minimal or ios_minimal
#                                      [default: modern_minimal]
#   NSRL_HASH        sha256, sha1 or md5                          [default: sha256]
#   NSRL_MAX_CHANGE  stop if more of the list changes than this      [default: 20%]
#   NSRL_CONFIRM     1 or true: write it anyway
#   NSRL_WORK        folder for downloads and the database     [default: nsrl-work]
#   NSRL_BASE_URL    URL of the folders rds_YYYY.MM.P           [default: NIST's]
#   NSRL_ITEM_FLAGS  attributes of the items [default: --type known --source NSRL]
#   HASHFERRY_FLAGS  further flags for every call of hashferry; no flag or value
#                    may contain a blank
#
# Exit status: that of hashferry if it ran; 1 if a step before it failed, 2 if the
# configuration is wrong, 4 if interrupted. See README.md in this folder.
set -euo pipefail
shopt -s inherit_errexit

NSRL_BASE_URL=${NSRL_BASE_URL:-https://s3.amazonaws.com/rds.nsrl.nist.gov/RDS}
NSRL_BASE_URL=${NSRL_BASE_URL%/}
NSRL_SET=${NSRL_SET:-modern_minimal}
NSRL_HASH=${NSRL_HASH:-sha256}
NSRL_MAX_CHANGE=${NSRL_MAX_CHANGE:-20%}
NSRL_WORK=${NSRL_WORK:-nsrl-work}
SAMPLE=10000  # hashes to verify after the write
QUARTERS=8    # quarters to search for the newest release
PATCHES=(3 2 1) # values of P in YYYY.MM.P to try; 2 has occurred

read -r -a item_flags <<<"${NSRL_ITEM_FLAGS---type known --source NSRL}"
read -r -a flags <<<"${HASHFERRY_FLAGS-}"

say() { printf 'nsrl-refresh: %s\n' "$*" >&2; }
die() { say "error: $1"; exit "${2:-1}"; }

# -- the state ----------------------------------------------------------------
# A folder, or objects below a prefix. In it:
#   release         the release that the table holds: RELEASE SET HASH TABLE. Written
#                   last.
#   begun           the same for a release in progress, and its phase: writing, or
#                   written, which still needs the verification
#   RDS_….zst       the lists, one per release
#   RDS_….checkpoint  hashferry's checkpoint, during a write
#   reports/        hashferry's reports

state_keys() {
  aws s3api list-objects-v2 --bucket "$bucket" --prefix "$prefix$1" \
    --query 'Contents[].Key' --output text
}

state_has() {
  if [[ -z $bucket ]]; then
    [[ -f $STATE/$1 ]]
    return
  fi
  # Checked with a listing, not a read: without the permission to list, S3 responds to
  # a read of a missing object with access denied.
  local keys
  keys=$(state_keys "$1") || die "cannot list $STATE: the state needs s3:ListBucket on its prefix"
  tr '\t' '\n' <<<"$keys" | grep -Fxq -- "$prefix$1"
}

state_read() {
  state_has "$1" || return 0
  if [[ -z $bucket ]]; then
    cat "$STATE/$1"
  else
    aws s3 cp --only-show-errors "s3://$bucket/$prefix$1" - || die "cannot read $STATE$1"
  fi
}

# Puts file $1 into the state as $2, atomically: a file is renamed; a put of an object
# is atomic.
state_put() {
  if [[ -z $bucket ]]; then
    mkdir -p "$(dirname "$STATE/$2")"
    cp "$1" "$STATE/$2.part"
    sync "$STATE/$2.part"
    mv -f "$STATE/$2.part" "$STATE/$2"
  else
    aws s3 cp --only-show-errors "$1" "s3://$bucket/$prefix$2"
  fi
}

state_write() {
  printf '%s\n' "$2" >"$NSRL_WORK/state.tmp"
  state_put "$NSRL_WORK/state.tmp" "$1"
  rm -f "$NSRL_WORK/state.tmp"
}

state_remove() {
  if [[ -z $bucket ]]; then
    rm -f "$STATE/$1"
  else
    aws s3 rm --only-show-errors "s3://$bucket/$prefix$1"
  fi
}

# Prints the path or S3 URI of file $1 of the state, for hashferry.
state_uri() {
  if [[ -z $bucket ]]; then printf '%s' "$STATE/$1"; else printf 's3://%s/%s' "$bucket" "$prefix$1"; fi
}

# Reads `release` or `begun` into $release_of and $phase_of; both are empty if the file
# is missing.
state_of() {
  local text set hash table
  text=$(state_read "$1")
  release_of='' phase_of=''
  [[ -n $text ]] || return 0
  read -r release_of set hash table phase_of <<<"$text" || true
  is_release "$release_of" || die "$1 in $STATE does not name a release: $text" 2
  if [[ "$set $hash $table" != "$NSRL_SET $NSRL_HASH $TABLE" ]]; then
    die "$STATE belongs to $set, $hash, table $table, not to $NSRL_SET, $NSRL_HASH, table $TABLE: give each a separate STATE" 2
  fi
}

# -- releases -----------------------------------------------------------------

CURL=(curl --fail --location --proto '=https,http,file' --proto-redir '=https'
  --retry 5 --retry-connrefused --connect-timeout 30 --speed-limit 1000 --speed-time 120)

RELEASE='[0-9]{4}\.[0-9]{2}\.[0-9]' # YYYY.MM.P
is_release() { [[ $1 =~ ^$RELEASE$ ]]; }

# Fetches a small file; status 1 if it is not published. NIST's bucket cannot be
# listed, and responds with 403 for missing objects.
published() {
  local code status
  code=$("${CURL[@]}" --silent --output "$2" --write-out '%{http_code}' "$1") && return 0
  status=$?
  rm -f "$2"
  case $status:$code in
    22:403 | 22:404 | 37:*) return 1 ;; # 37: a file:// URL of a missing file
  esac
  die "cannot fetch $1: curl ended with status $status (HTTP $code)"
}

# Prints the newest release after $1; prints nothing if there is none. Tries names,
# because the bucket cannot be listed.
newest() {
  local year month patch name i
  IFS=- read -r year month < <(date -u +%Y-%m)
  month=$((10#$month / 3 * 3))
  for ((i = 0; i < QUARTERS; i++)); do
    if [[ $month == 0 ]]; then
      year=$((year - 1)) month=12
    fi
    for patch in "${PATCHES[@]}"; do
      printf -v name '%d.%02d.%d' "$year" "$month" "$patch"
      [[ $name > $1 ]] || return 0
      if published "$NSRL_BASE_URL/rds_$name/version.txt" "$NSRL_WORK/version.txt"; then
        echo "$name"
        return 0
      fi
    done
    month=$((month - 3))
  done
}

# Prints the parts of the database of release $1, in order, one per line: first the
# dbhash of the result, or - if none is published.
chain() {
  local hashes=$NSRL_WORK/dbhashes.txt
  if published "$NSRL_BASE_URL/rds_$1/dbhashes.txt" "$hashes" && awk -v set="$NSRL_SET" '
    { sub(/\r$/, "") }
    found && $1 ~ /^[0-9]+\.$/ { parts = parts "\n" $2; next }
    found && NF { exit }
    length($1) == 40 && $2 ~ ("^RDS_[0-9.]+_" set "[.]db$") { found = $1 }
    END { if (parts == "") exit 1; print found parts }' "$hashes"; then
    return 0
  fi
  printf '%s\n' - "RDS_$1_$NSRL_SET.db"
}

sha1() { sha1sum <"$1" | cut -c 1-40; }

# Fetches the archive $2 of release $1 into the work folder, and checks it against
# its published SHA-1. A partial download is kept when the connection breaks, for the
# next run to resume, and removed if the checksum differs.
fetch() {
  local url=$NSRL_BASE_URL/rds_$1/$2 file=$NSRL_WORK/$2 want got status
  published "$url.sha" "$file.sha" || die "$2 is not published (no $url.sha): try again later, or name another NSRL_RELEASE"
  # "SHA1(NAME)= …", as openssl writes it, or any other form with a single hash.
  want=$({ grep -Eio '\b[0-9a-f]{40}\b' "$file.sha" || true; } | tr A-F a-f | sort -u)
  [[ ${#want} == 40 ]] || die "$url.sha holds no SHA-1, or several: expected one of 40 hexadecimal digits"
  if [[ -f $file ]]; then
    if [[ $(sha1 "$file") == "$want" ]]; then
      say "$2 is already downloaded and has the published SHA-1"
      return 0
    fi
    rm -f "$file"
  fi
  say "fetching $url"
  # Skipped for a complete file: its range would be empty.
  if [[ ! -f $file.part || $(sha1 "$file.part") != "$want" ]]; then
    status=0
    "${CURL[@]}" --silent --show-error --continue-at - --output "$file.part" "$url" || status=$?
    [[ $status == 0 ]] || die "cannot fetch $url: curl ended with status $status; nothing was applied, and the next run resumes the download"
  fi
  got=$(sha1 "$file.part")
  if [[ $got != "$want" ]]; then
    rm -f "$file.part"
    die "$2 does not match its published SHA-1: got $got, expected $want; nothing was applied, and the file was removed"
  fi
  mv -f "$file.part" "$file"
}

# Prints the path, in archive $1, of the one file named $2.
member() {
  unzip -Z1 "$1" | awk -v name="$2" '
    { base = $0; sub(/.*\//, "", base) }
    base == name { member = $0; n++ }
    END { if (n != 1) exit 1; print member }' || die "$1 holds no file $2, or several"
}

# -- the list -----------------------------------------------------------------

SQLITE=(sqlite3 -batch -bail -init /dev/null)

# Makes the list of release $1 and puts it into the state, as $2. The database is
# temporary: it is unpacked from the archive of the full one, and removed afterwards.
make_list() {
  local db=$NSRL_WORK/database.partial list=$NSRL_WORK/list.partial text parts dbhash name archive file needed free lines
  text=$(chain "$1")
  mapfile -t parts <<<"$text"
  dbhash=${parts[0]}
  parts=("${parts[@]:1}")
  say "release $1 of $NSRL_SET consists of ${parts[*]}"
  for name in "${parts[@]}"; do
    [[ $name =~ ^RDS_($RELEASE)_${NSRL_SET}(\.db|_delta\.sql)$ ]] ||
      die "dbhashes.txt of release $1 names $name: expected RDS_YYYY.MM.P_$NSRL_SET.db or …_delta.sql"
    fetch "${BASH_REMATCH[1]}" "${name%.*}.zip"
  done

  rm -f "$db" "$db"-*
  for name in "${parts[@]}"; do
    archive=$NSRL_WORK/${name%.*}.zip
    file=$(member "$archive" "$name")
    if [[ $name == *.db ]]; then
      needed=$(($(unzip -Zt "$archive" | awk '{ print $3 }') / 1024))
      free=$(df -Pk "$NSRL_WORK" | awk 'END { print $4 }')
      ((free > needed)) || die "$NSRL_WORK has $free KiB free, and $name alone takes $needed: set NSRL_WORK to a folder on a larger disk"
      say "unpacking $name, $needed KiB"
      unzip -p "$archive" "$file" >"$db"
    else
      say "applying $name"
      # The delta is a single transaction. If it was not committed, the BEGIN after it
      # fails, because transactions do not nest. An error ends the run and removes the
      # partial database. -safe: the SQL is not trusted.
      { unzip -p "$archive" "$file" && printf '\n;BEGIN; ROLLBACK;\n'; } |
        "${SQLITE[@]}" -safe -cmd 'PRAGMA synchronous = OFF' -cmd 'PRAGMA cache_size = -262144' "$db" >/dev/null ||
        die "$name cannot be applied to the database before it; nothing was written, and the next run begins with the full database"
    fi
  done

  if [[ $dbhash == - ]]; then
    say "no dbhash is published for $1: only the archives' checksums were verified"
  elif command -v dbhash >/dev/null; then
    say "comparing the database with the published dbhash"
    name=$(dbhash "$db" | cut -c 1-40)
    [[ $name == "$dbhash" ]] || die "the database does not match the published dbhash: got $name, expected $dbhash; nothing was written"
  else
    say "dbhash (of SQLite) is not installed: only the archives' checksums were verified"
  fi

  say "listing the distinct $NSRL_HASH hashes"
  # SQLite sorts by an index, or on disk if there is none. The second sort is needed
  # after the change to upper case.
  "${SQLITE[@]}" -safe -readonly "$db" "SELECT DISTINCT $NSRL_HASH FROM FILE ORDER BY $NSRL_HASH" |
    tr a-f A-F | sort -u | zstd -q -T0 -f -o "$list" ||
    die "the database cannot be listed; nothing was written"
  rm -f "$db" "$db"-*
  lines=$(zstd -q -d -c "$list" | wc -l)
  ((lines > 0)) || die "release $1 of $NSRL_SET has no $NSRL_HASH: nothing was written"
  say "$lines distinct hashes"
  state_put "$list" "$2"
  rm -f "$list"
}

# -- the table ----------------------------------------------------------------

child='' stopping=0 # number of signals received
# shellcheck disable=SC2329 # called by the trap
stop() {
  stopping=$((stopping + 1))
  [[ -n $child ]] || exit 4
  kill -TERM "$child" 2>/dev/null || true
}

# Runs hashferry and waits for it, also after a signal; its exit status is in
# $status. In the background, because bash handles no signal while it waits for a
# foreground program.
ferry() {
  local heard
  hashferry "$@" --table "$TABLE" --hash "$NSRL_HASH" "${item_flags[@]}" "${flags[@]}" &
  child=$!
  while :; do
    heard=$stopping status=0
    wait "$child" || status=$?
    [[ $status -gt 128 && $heard != "$stopping" ]] || break
  done
  child=
}

# Publishes hashferry's files of release $1.
publish() {
  local file
  for file in "$reports/$1".*; do
    [[ ! -s $file ]] || state_put "$file" "reports/${file##*/}"
  done
}

# Ends a run that did not complete release $1, with hashferry's status.
give_up() {
  publish "$1" || say "cannot publish the reports; they are in $reports"
  say "$2"
  exit "$status"
}

# True if the report $1 says that deletes are held back, and so are still due.
held_back() { grep -Eq '"deletes_held_back": *[1-9]' "$1" 2>/dev/null; }

# Updates the table from the release in $applied to release $1. $2: the phase that an
# earlier run of it reached.
apply() {
  local base=RDS_$1_$NSRL_SET.$NSRL_HASH mark="$1 $NSRL_SET $NSRL_HASH $TABLE" phase=$2
  local list rejects=$reports/$1.rejects.jsonl rejected='' # by this run
  list=$(state_uri "$base.zst")
  if state_has "$base.zst"; then
    say "the list of release $1 is already in the state"
  else
    make_list "$1" "$base.zst"
  fi

  if [[ $phase != written ]]; then
    # Recorded before the first write: from here on the table is between two releases,
    # and this one must be completed before any other.
    if [[ $phase != writing ]]; then
      state_write begun "$mark writing"
    elif [[ ! -f $rejects ]]; then
      # The interrupted run was on another machine; this run appends to its rejects.
      state_read "reports/${rejects##*/}" >"$rejects"
    fi
    local args=(--checkpoint "$(state_uri "$base.checkpoint")" --rejects "$rejects")
    if [[ -z $applied ]]; then
      say "first time: writing all of release $1"
      ferry ingest "$list" "${args[@]}" --report "$reports/$1.ingest.json"
    else
      say "writing the difference of releases $applied and $1"
      args+=(--distinct sorted --max-change "$NSRL_MAX_CHANGE")
      case ${NSRL_CONFIRM:-} in 1 | true | yes) args+=(--confirm) ;; esac
      ferry refresh --from "$(state_uri "RDS_${applied}_$NSRL_SET.$NSRL_HASH.zst")" --to "$list" \
        "${args[@]}" --report "$reports/$1.refresh.json"
    fi
    if [[ $status == 3 ]] && held_back "$reports/$1.refresh.json"; then
      give_up "$1" "lines of the list of release $1 are rejected (reports/$1.rejects.jsonl), so nothing was deleted: remove $list and run this again, which makes the list again"
    fi
    case $status in
      0 | 3) ;;
      2)
        # This run wrote nothing.
        [[ $phase == writing ]] || state_remove begun
        give_up "$1" "hashferry ended with 2: nothing was written"
        ;;
      4) give_up "$1" "interrupted: run this again to resume" ;;
      *) give_up "$1" "hashferry ended with $status: run this again to resume; if it stopped because more than $NSRL_MAX_CHANGE changes and that is right, with NSRL_CONFIRM=1" ;;
    esac
    [[ $status == 0 ]] || rejected=1
    state_write begun "$mark written"
    publish "$1"
    [[ $stopping == 0 ]] || exit 4
  fi

  say "verifying $SAMPLE hashes of release $1"
  ferry verify "$list" --sample "$SAMPLE" --report "$reports/$1.verify.json" >"$reports/$1.missing.txt"
  case $status in
    0 | 3) ;;
    5)
      state_write begun "$mark writing"
      give_up "$1" "not all of the sample is in the table as it should be: something else writes to it, or the attributes were others. Repair it by hashferry verify $list --table $TABLE … | hashferry ingest - --table $TABLE …, then run this again"
      ;;
    *) give_up "$1" "the table is written, but not verified: hashferry ended with $status; run this again" ;;
  esac
  [[ -z $rejected ]] || status=3
  publish "$1"
  state_write release "$mark"
  state_remove begun
  applied=$1
  say "table $TABLE holds release $1"
}

# -- the run ------------------------------------------------------------------

[[ -n ${STATE:-} ]] || die "STATE is not set: a folder or s3://bucket/prefix/ that outlives the run" 2
[[ -n ${TABLE:-} ]] || die "TABLE is not set: the table to write" 2
[[ $TABLE =~ ^[A-Za-z0-9_.-]+$ ]] || die "TABLE is $TABLE: expected a name of a table, which has letters, digits, _ . and - only" 2
case $NSRL_SET in
  modern_minimal | legacy_minimal | android_minimal | ios_minimal) ;;
  *) die "NSRL_SET is $NSRL_SET: expected modern_minimal, legacy_minimal, android_minimal or ios_minimal, which have the same distinct hashes as the full sets" 2 ;;
esac
case $NSRL_HASH in
  sha256 | sha1 | md5) ;;
  *) die "NSRL_HASH is $NSRL_HASH: expected sha256, sha1 or md5" 2 ;;
esac
[[ -z ${NSRL_RELEASE:-} ]] || is_release "$NSRL_RELEASE" || die "NSRL_RELEASE is $NSRL_RELEASE: expected YYYY.MM.P, such as 2026.09.1" 2
[[ $NSRL_BASE_URL == *://* ]] || die "NSRL_BASE_URL is $NSRL_BASE_URL: expected a URL" 2
bucket='' prefix=''
if [[ $STATE == s3://* ]]; then
  [[ $STATE =~ ^s3://([a-z0-9.-]+)/(([A-Za-z0-9_.=-]+/)*)$ ]] || die "STATE is $STATE: expected s3://bucket/prefix/, with the slash at its end" 2
  bucket=${BASH_REMATCH[1]} prefix=${BASH_REMATCH[2]}
else
  STATE=${STATE%/}
  mkdir -p "$STATE" || die "cannot create the folder $STATE" 2
fi
for tool in hashferry curl unzip sqlite3 zstd sha1sum awk ${bucket:+aws}; do
  command -v "$tool" >/dev/null || die "$tool is not installed" 2
done

reports=$NSRL_WORK/reports
mkdir -p "$reports" || die "cannot create the folder $reports" 2
if command -v flock >/dev/null; then
  exec 9>"$NSRL_WORK/lock"
  flock -n 9 || die "another run works in $NSRL_WORK" 1
fi
export SQLITE_TMPDIR=$NSRL_WORK TMPDIR=$NSRL_WORK LC_ALL=C
trap stop INT TERM
trap 'rm -f "$NSRL_WORK"/*.partial "$NSRL_WORK"/*.partial-*' EXIT

state_of release
applied=$release_of
state_of begun
# Removes files of other releases; the state has their reports.
find "$reports" -type f ! -name "${release_of:--}.*" -delete
status=0
if [[ -n $release_of ]]; then
  if [[ $release_of == "$applied" ]]; then
    state_remove begun # the last run ended just before this step
  else
    say "resuming release $release_of"
    apply "$release_of" "$phase_of"
  fi
fi

wanted=${NSRL_RELEASE:-$(newest "$applied")}
if [[ -z $wanted && -z $applied ]]; then
  die "no release of the last $QUARTERS quarters is published at $NSRL_BASE_URL: name one with NSRL_RELEASE"
elif [[ -z $wanted || $wanted == "$applied" ]]; then
  say "table $TABLE holds release $applied: nothing newer to apply"
else
  apply "$wanted" ''
fi
exit "$status"
