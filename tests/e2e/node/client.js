// A stock kafkajs client driven by the end-to-end tests.
//
//   node client.js produce  BROKERS TOPIC CODEC ACKS   records on standard input, one a line
//   node client.js consume  BROKERS TOPIC PARTITION OFFSET COUNT TIMEOUT_MS
//   node client.js admin    BROKERS TOPIC              create, list, describe, offsets, delete; JSON
//   node client.js group    BROKERS TOPIC GROUP        'partition offset value' a line, until SIGTERM
//
// A record line is: partition TAB timestamp TAB key TAB value TAB headers, where key and value are "-" for
// null or "x" and hex, and headers are "name:xHEX" joined by commas. Consumed lines start with the offset.
//
// kafkajs offers consumption to applications only through consumer groups. In `consume` its fetch path (request,
// response and record decoding, decompression) is driven below the group, through the cluster object.
'use strict'
process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

// Codec plug-ins are the documented way to add LZ4 and ZSTD to kafkajs; these two need no native build.
const lz4 = require('lz4js')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
})
const zstd = new Promise((resolve) => require('zstd-codec').ZstdCodec.run((z) => resolve(new z.Simple())))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
})

const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

const decode = (text) => (text === '-' ? null : Buffer.from(text.slice(1), 'hex'))
const encode = (bytes) => (bytes === null || bytes === undefined ? '-' : 'x' + Buffer.from(bytes).toString('hex'))

function kafka(brokers) {
  return new Kafka({
    clientId: 'kafkajs-e2e',
    brokers: brokers.split(','),
    logLevel: logLevel.ERROR,
    retry: { retries: 5, initialRetryTime: 100 },
  })
}

function parseRecord(line) {
  const [partition, timestamp, key, value, headers] = line.split('\t')
  const message = { key: decode(key), value: decode(value), partition: Number(partition), headers: {} }
  if (timestamp !== '-') message.timestamp = timestamp
  for (const header of headers ? headers.split(',') : []) {
    const [name, bytes] = header.split(':')
    message.headers[name] = decode(bytes)
  }
  return message
}

async function produce(brokers, topic, codec, acks) {
  const lines = require('fs').readFileSync(0, 'utf8').split('\n').filter((line) => line.length > 0)
  const producer = kafka(brokers).producer({ allowAutoTopicCreation: false })
  await producer.connect()
  const messages = lines.map(parseRecord)
  for (let i = 0; i < messages.length; i += 100) {
    const answers = await producer.send({
      topic,
      acks: Number(acks),
      compression: codecs[codec],
      messages: messages.slice(i, i + 100),
    })
    for (const { partition, baseOffset } of answers) console.log(`${partition}\t${baseOffset}`)
  }
  await producer.disconnect()
}

function clusterOf(client) {
  const symbol = Object.getOwnPropertySymbols(client).find((s) => String(s).includes('createCluster'))
  return client[symbol]({ metadataMaxAge: 300000, isolationLevel: 0 })
}

async function consume(brokers, topic, partitionText, offsetText, countText, timeoutText) {
  const partition = Number(partitionText)
  const count = Number(countText)
  const deadline = Date.now() + Number(timeoutText)
  const cluster = clusterOf(kafka(brokers))
  await cluster.connect()
  await cluster.addTargetTopic(topic)
  const leaders = cluster.findLeaderForPartitions(topic, [partition])
  const broker = await cluster.findBroker({ nodeId: Object.keys(leaders)[0] })
  let next = BigInt(offsetText)
  let seen = 0
  while (seen < count && Date.now() < deadline) {
    const { responses } = await broker.fetch({
      isolationLevel: 0,
      maxWaitTime: 500,
      minBytes: 1,
      maxBytes: 8 * 1024 * 1024,
      topics: [{ topic, partitions: [{ partition, fetchOffset: next.toString(), maxBytes: 4 * 1024 * 1024 }] }],
    })
    const { messages } = responses[0].partitions[0]
    for (const message of messages) {
      if (BigInt(message.offset) < next) continue // the batch may begin before the requested offset
      const headers = Object.entries(message.headers || {}).map(([name, bytes]) => `${name}:${encode(bytes)}`)
      console.log([message.offset, partition, message.timestamp, encode(message.key), encode(message.value),
        headers.join(',')].join('\t'))
      next = BigInt(message.offset) + 1n
      seen++
    }
  }
  await cluster.disconnect()
}

async function admin(brokers, topic) {
  const client = kafka(brokers).admin()
  await client.connect()
  const created = await client.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 1 }] })
  const again = await client.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 1 }] })
  await client.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
  const topics = await client.listTopics()
  const metadata = await client.fetchTopicMetadata({ topics: [topic] })
  const offsets = await client.fetchTopicOffsets(topic)
  const byTime = await client.fetchTopicOffsetsByTimestamp(topic, 0)
  const cluster = await client.describeCluster()
  const configs = await client.describeConfigs({ resources: [{ type: 2, name: topic }], includeSynonyms: false })
  await client.deleteTopics({ topics: [topic] })
  const after = await client.listTopics()
  console.log(JSON.stringify({ created, again, topics, after, offsets, byTime, brokers: cluster.brokers.length,
    controller: cluster.controller, partitions: metadata.topics[0].partitions.length,
    configs: configs.resources[0].configEntries.map((c) => [c.configName, c.configValue]) }))
  await client.disconnect()
}

// Until SIGTERM. Commits what it has printed, batch by batch.
async function group(brokers, topic, groupId) {
  const consumer = kafka(brokers).consumer({
    groupId,
    sessionTimeout: 6000,
    heartbeatInterval: 500,
    rebalanceTimeout: 10000,
    metadataMaxAge: 1000,
    maxWaitTimeInMs: 100,
    // As many as by default: until they are used up kafkajs sends its heartbeats to the coordinator it had, also when that
    // process is gone; then it starts its consumer anew, and looks for the coordinator.
    retry: { retries: 5, initialRetryTime: 50, maxRetryTime: 500 },
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const ended = new Promise((resolve) => process.once('SIGTERM', resolve))
  await consumer.run({
    autoCommitInterval: 200,
    eachMessage: async ({ partition, message }) => console.log(`${partition} ${message.offset} ${message.value}`),
  })
  await ended
  await consumer.disconnect()
}

const [mode, ...rest] = process.argv.slice(2)
const modes = { produce, consume, admin, group }
if (!modes[mode]) {
  console.error('usage: client.js produce|consume|admin|group ...')
  process.exit(2)
}
modes[mode](...rest).then(
  () => {}, // the process ends by itself once standard output is drained; process.exit() would cut it
  (error) => {
    console.error(error.stack || String(error))
    process.exitCode = 1
  },
)
