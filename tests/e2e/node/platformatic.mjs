// A stock @platformatic/kafka client driven by the end-to-end tests.
//
//   node platformatic.mjs produce BROKERS TOPIC FIRST COUNT   values 000000 and so on; prints how many were acknowledged
//   node platformatic.mjs group   BROKERS TOPIC GROUP         'partition offset value' a line, until SIGTERM
import { once } from 'node:events'
import { Consumer, MessagesStreamModes, ProduceAcks, Producer, stringDeserializers } from '@platformatic/kafka'

const [mode, brokers, topic, ...rest] = process.argv.slice(2)
const connection = { clientId: 'platformatic-e2e', bootstrapBrokers: brokers.split(','), retries: 20, retryDelay: 200, metadataMaxAge: 1000 }

async function produce(first, count) {
  const producer = new Producer({ ...connection, idempotent: true })
  let acknowledged = 0
  for (let at = first; at < first + count; at += 50) {
    const messages = []
    for (let i = at; i < Math.min(at + 50, first + count); i++)
      messages.push({ topic, value: Buffer.from(`${String(i).padStart(6, '0')}`) })
    await producer.send({ messages, acks: ProduceAcks.ALL })
    acknowledged += messages.length
  }
  console.log(acknowledged)
  await producer.close()
}

async function group(groupId) {
  const consumer = new Consumer({ ...connection, groupId, deserializers: stringDeserializers, sessionTimeout: 6000,
    heartbeatInterval: 500, rebalanceTimeout: 10000, maxWaitTime: 100, autocommit: 200 })
  const stream = await consumer.consume({ topics: [topic], mode: MessagesStreamModes.COMMITTED, fallbackMode: 'earliest' })
  stream.on('data', (message) => console.log(`${message.partition} ${message.offset} ${message.value}`))
  stream.on('error', (error) => {
    console.error(error.stack || String(error))
    process.exit(1)
  })
  await once(process, 'SIGTERM')
  await consumer.close(true)
}

await (mode === 'produce' ? produce(Number(rest[0]), Number(rest[1])) : group(rest[0]))
