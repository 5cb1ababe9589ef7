//! The raw client of the benchmark: drains a queue and writes results with no worker around it.
//!
//! It shows what broker and client library give at most: takes in batches, parses only the task id, acknowledges and
//! stores in pipelines. No task is run, nothing is scheduled, nothing is checked.
//!
//! Usage: `raw redis|amqp BROKER_URL BACKEND_URL TASKS`

use std::error::Error;

use fred::{prelude::*, types::Value};
use futures::StreamExt;
use lapin::{Connection, ConnectionProperties, options::*, types::FieldTable};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const BATCH: usize = 64;
const TAKE: &str = r#"
local ms = redis.call('RPOP', KEYS[3], tonumber(ARGV[3]))
if not ms then return {} end
local h, z = {}, {}
for i = 1, #ms do
    local tag = ARGV[2] .. i
    h[#h + 1] = tag; h[#h + 1] = '[' .. ms[i] .. ', "", "bench"]'
    z[#z + 1] = ARGV[1]; z[#z + 1] = tag
end
redis.call('HSET', KEYS[1], unpack(h))
redis.call('ZADD', KEYS[2], unpack(z))
return ms
"#;

#[tokio::main(worker_threads = 2)]
async fn main() -> Fallible<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("usage: raw redis|amqp BROKER_URL BACKEND_URL TASKS");
    let (kind, broker, backend, tasks) = (next()?, next()?, next()?, next()?.parse()?);
    let results = client(&backend).await?;
    match kind.as_str() {
        "redis" => drain_redis(&client(&broker).await?, &results, tasks).await,
        _ => drain_amqp(&broker, &results, tasks).await,
    }
}

async fn client(url: &str) -> Fallible<Client> {
    let client = Builder::from_config(Config::from_url(url)?).build()?;
    client.init().await?;
    Ok(client)
}

async fn drain_redis(broker: &Client, results: &Client, tasks: usize) -> Fallible<()> {
    let sha: String = broker.script_load(TAKE).await?;
    let mut done = 0;
    while done < tasks {
        let prefix = format!("raw-{done}-");
        let keys = vec!["unacked", "unacked_index", "bench"];
        let taken: Vec<String> =
            broker.evalsha(&sha, keys, vec!["0".to_owned(), prefix.clone(), BATCH.to_string()]).await?;
        let tags: Vec<String> = (1..=taken.len()).map(|n| format!("{prefix}{n}")).collect();
        let pipeline = broker.pipeline();
        let _: () = pipeline.hdel("unacked", tags.clone()).await?;
        let _: () = pipeline.zrem("unacked_index", tags).await?;
        let acked = pipeline.all::<Vec<Value>>();
        let (acked, stored) = futures::join!(acked, store(results, taken.iter().map(|text| id_of(text))));
        acked?;
        stored?;
        done += taken.len();
    }
    Ok(())
}

async fn drain_amqp(broker: &str, results: &Client, tasks: usize) -> Fallible<()> {
    let connection = Connection::connect(broker, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(2000, BasicQosOptions::default()).await?;
    let consumer =
        channel.basic_consume("bench".into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await?;
    let mut batches = consumer.ready_chunks(BATCH);
    let mut done = 0;
    while done < tasks {
        let Some(batch) = batches.next().await else { return Err("the consumer was cancelled".into()) };
        let batch: Vec<_> = batch.into_iter().collect::<Result<_, _>>()?;
        let ids = batch.iter().filter_map(|delivery| delivery.properties.correlation_id().as_ref());
        store(results, ids.map(|id| id.as_str())).await?;
        if let Some(last) = batch.last() {
            channel.basic_ack(last.delivery_tag, BasicAckOptions { multiple: true }).await?;
        }
        done += batch.len();
    }
    // Closing waits for what is queued: the last ack must have left.
    channel.close(200, "".into()).await?;
    Ok(())
}

async fn store<'a>(results: &Client, ids: impl Iterator<Item = &'a str>) -> Fallible<()> {
    let pipeline = results.pipeline();
    for id in ids {
        let key = format!("celery-task-meta-{id}");
        let document = format!(
            "{{\"status\": \"SUCCESS\", \"result\": 3, \"traceback\": null, \"children\": [], \
             \"date_done\": \"2026-01-01T00:00:00.000000+00:00\", \"task_id\": \"{id}\"}}"
        );
        let _: () = pipeline.set(&key, document.as_str(), Some(Expiration::EX(86_400)), None, false).await?;
        let _: () = pipeline.publish(&key, document).await?;
    }
    pipeline.all::<Vec<Value>>().await?;
    Ok(())
}

/// The task id of an envelope, by its place after `"id": `.
fn id_of(envelope: &str) -> &str {
    let rest = envelope.split_once("\"id\": \"").map_or("", |(_, rest)| rest);
    rest.split_once('"').map_or("", |(id, _)| id)
}
