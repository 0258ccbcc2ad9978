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
}

impl FakeScaling {
    pub fn start(targets: Vec<Target>) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let targets = Arc::new(targets);
        let server = Server::start(move |mut connection| {
            let (seen, targets) = (Arc::clone(&seen), Arc::clone(&targets));
            async move {
                while let Some(request) = connection.read_request().await? {
                    let operation = request.header("x-amz-target").unwrap_or_default();
                    let operation = operation.rsplit('.').next().unwrap_or_default().to_owned();
                    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                    let (status, answer) = answer(&targets, &operation, &body);
                    seen.lock().expect("whole").push(operation);
                    let answer = Answer::new(status, answer.to_string())
                        .header("content-type", "application/x-amz-json-1.1");
                    connection.answer(&answer).await?;
                }
                Ok(())
            }
        });
        Self { server, calls }
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

fn answer(targets: &[Target], operation: &str, body: &Value) -> (u16, Value) {
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
        _ => (
            400,
            json!({"__type": "ValidationException", "Message": operation}),
        ),
    }
}
