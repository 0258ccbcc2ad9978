//! An Application Auto Scaling that knows what it is told of one table.

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
    /// In percent, when a target-tracking policy is attached.
    pub aim: Option<f64>,
    /// Whether lowering is suspended.
    pub suspended: bool,
}

/// The running server.
pub struct FakeScaling {
    server: Server,
    /// Calls by the name of the operation.
    calls: Arc<Mutex<Vec<String>>>,
    targets: Arc<Mutex<Vec<Target>>>,
}

/// Called with a target after it was moved.
type Moved = Arc<dyn Fn(&Target) + Send + Sync>;

impl FakeScaling {
    pub fn start(targets: Vec<Target>) -> Self {
        Self::start_with(targets, |_| {})
    }

    /// The same; `moved` sees each target that RegisterScalableTarget has moved,
    /// and does what auto scaling would do.
    pub fn start_with(
        targets: Vec<Target>,
        moved: impl Fn(&Target) + Send + Sync + 'static,
    ) -> Self {
        let moved: Moved = Arc::new(moved);
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
                        &mut targets.lock().expect("whole"),
                        &operation,
                        &body,
                        &moved,
                    );
                    seen.lock().expect("whole").push(operation);
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

    /// The targets as they are now.
    pub fn targets(&self) -> Vec<Target> {
        self.targets.lock().expect("whole").clone()
    }

    /// Where it listens, for AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The operations that were asked for, in order.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("whole").clone()
    }
}

fn answer(targets: &mut [Target], operation: &str, body: &Value, moved: &Moved) -> (u16, Value) {
    let dimension = |resource: &str| match resource.contains("/index/") {
        true => "dynamodb:index:WriteCapacityUnits",
        false => "dynamodb:table:WriteCapacityUnits",
    };
    match operation {
        "DescribeScalableTargets" => {
            let asked = |t: &&Target| {
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
            let found: Vec<Value> = targets.iter().filter(asked).map(one).collect();
            (200, json!({ "ScalableTargets": found }))
        }
        "DescribeScalingPolicies" => {
            let aim = targets
                .iter()
                .find(|t| body["ResourceId"] == t.resource.as_str())
                .and_then(|t| t.aim);
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
