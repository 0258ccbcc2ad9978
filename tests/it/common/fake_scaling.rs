//! A fake Application Auto Scaling for one table.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::wire::{Answer, Server};

/// One scalable target of write capacity.
#[derive(Clone, Debug)]
pub struct Target {
    /// `table/NAME` or `table/NAME/index/INDEX`.
    pub resource: String,
    pub min: u64,
    pub max: u64,
    /// Target utilisation in percent; `None` without a target-tracking policy.
    pub target_percent: Option<f64>,
    /// True if scale in is suspended.
    pub suspended: bool,
}

/// The running server.
pub struct FakeScaling {
    server: Server,
    /// Operations called, in order.
    calls: Arc<Mutex<Vec<String>>>,
    targets: Arc<Mutex<Vec<Target>>>,
}

/// Callback for a target that was changed.
type OnMoved = Arc<dyn Fn(&Target) + Send + Sync>;

impl FakeScaling {
    pub fn start(targets: Vec<Target>) -> Self {
        Self::start_with(targets, |_| {})
    }

    /// As [`start`](Self::start); `moved` gets each target that RegisterScalableTarget
    /// has changed, and acts as auto scaling.
    pub fn start_with(
        targets: Vec<Target>,
        moved: impl Fn(&Target) + Send + Sync + 'static,
    ) -> Self {
        let moved: OnMoved = Arc::new(moved);
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let targets = Arc::new(Mutex::new(targets));
        let all = Arc::clone(&targets);
        let server = Server::start(move |mut connection| {
            let (seen, targets, moved) = (Arc::clone(&seen), Arc::clone(&all), Arc::clone(&moved));
            async move {
                while let Some(request) = connection.read_request().await? {
                    let operation = request.header("x-amz-target").unwrap_or_default();
                    let operation = operation.rsplit('.').next().unwrap_or_default().to_owned();
                    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                    let (status, answer) = answer(
                        &mut targets.lock().expect("no panic"),
                        &operation,
                        &body,
                        &moved,
                    );
                    seen.lock().expect("no panic").push(operation);
                    let answer = Answer::new(status, answer.to_string())
                        .header("content-type", "application/x-amz-json-1.1");
                    connection.answer(&answer).await?;
                }
                Ok(())
            }
        });
        Self {
            server,
            calls,
            targets,
        }
    }

    /// The current targets.
    pub fn targets(&self) -> Vec<Target> {
        self.targets.lock().expect("no panic").clone()
    }

    /// The endpoint, for AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The operations called, in order.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no panic").clone()
    }
}

fn answer(targets: &mut [Target], operation: &str, body: &Value, moved: &OnMoved) -> (u16, Value) {
    let dimension = |resource: &str| match resource.contains("/index/") {
        true => "dynamodb:index:WriteCapacityUnits",
        false => "dynamodb:table:WriteCapacityUnits",
    };
    match operation {
        "DescribeScalableTargets" => {
            let is_requested = |t: &&Target| {
                let ids = body["ResourceIds"].as_array();
                ids.is_none_or(|ids| ids.iter().any(|id| *id == t.resource.as_str()))
            };
            let one = |t: &Target| {
                json!({"ServiceNamespace": "dynamodb", "ResourceId": t.resource,
                    "ScalableDimension": dimension(&t.resource),
                    "MinCapacity": t.min, "MaxCapacity": t.max, "CreationTime": 1.7e9,
                    "RoleARN": "arn:aws:iam::123456789012:role/scaling",
                    "SuspendedState": {"DynamicScalingInSuspended": t.suspended,
                        "DynamicScalingOutSuspended": false, "ScheduledScalingSuspended": false}})
            };
            let found: Vec<Value> = targets.iter().filter(is_requested).map(one).collect();
            (200, json!({ "ScalableTargets": found }))
        }
        "DescribeScalingPolicies" => {
            let aim = targets
                .iter()
                .find(|t| body["ResourceId"] == t.resource.as_str())
                .and_then(|t| t.target_percent);
            let policy = aim.map(|aim| {
                json!({"PolicyName": "p", "PolicyARN": "arn:p", "ServiceNamespace": "dynamodb",
                    "ResourceId": body["ResourceId"], "ScalableDimension": body["ScalableDimension"],
                    "PolicyType": "TargetTrackingScaling", "CreationTime": 1.7e9,
                    "TargetTrackingScalingPolicyConfiguration": {"TargetValue": aim}})
            });
            (
                200,
                json!({ "ScalingPolicies": policy.into_iter().collect::<Vec<_>>() }),
            )
        }
        "RegisterScalableTarget" => {
            let known = targets.iter_mut().find(|t| {
                body["ResourceId"] == t.resource.as_str()
                    && body["ScalableDimension"] == dimension(&t.resource)
            });
            let Some(target) = known else {
                return (
                    400,
                    json!({"__type": "ValidationException", "Message": "MaxCapacity is required"}),
                );
            };
            let units = |field: &str, now| body[field].as_u64().unwrap_or(now);
            (target.min, target.max) = (
                units("MinCapacity", target.min),
                units("MaxCapacity", target.max),
            );
            moved(target);
            (
                200,
                json!({ "ScalableTargetARN": "arn:aws:application-autoscaling:target" }),
            )
        }
        _ => (
            400,
            json!({"__type": "ValidationException", "Message": operation}),
        ),
    }
}
