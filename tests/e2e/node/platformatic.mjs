// A stock @platformatic/kafka client driven by the end-to-end tests.
//
//   node platformatic.mjs produce BROKERS TOPIC FIRST COUNT         values 000000 and so on; prints how many were acknowledged
//   node platformatic.mjs group   BROKERS TOPIC GROUP [INSTANCE]    'partition offset value' a line, until SIGTERM
//
// Its consumer does not outlive a leader: a fetch that fails is repeated at the node it went to, whoever leads by then, and
// the coordinator is looked up once in its life. When the retries are used up it emits an error, and the application has to
// begin anew. 'group' is therefore a parent that starts its member again when that gives up, as a service manager does.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Consumer, MessagesStreamModes, ProduceAcks, Producer, stringDeserializers } from '@platformatic/kafka'

const [mode, brokers, topic, ...rest] = process.argv.slice(2)
const connection = { clientId: 'platformatic-e2e', bootstrapBrokers: brokers.split(','), metadataMaxAge: 1000 }

async function produce(first, count) {
  const producer = new Producer({ ...connection, idempotent: true, retries: 50, retryDelay: 100 })
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

async function member(groupId, groupInstanceId) {
  const giveUp = (error) => {
    console.error(error.stack || String(error))
    process.exit(1)
  }
  process.once('uncaughtException', giveUp)
  process.once('disconnect', () => process.exit(1))
  const consumer = new Consumer({
    ...connection, groupId, groupInstanceId, deserializers: stringDeserializers, sessionTimeout: 6000, heartbeatInterval: 500,
    rebalanceTimeout: 10000, maxWaitTime: 100, autocommit: 200, retries: 5, retryDelay: 100,
  })
  consumer.on('error', giveUp)
  consumer.on('consumer:heartbeat:error', ({ error }) => giveUp(error))
  const stream = await consumer.consume({ topics: [topic], mode: MessagesStreamModes.COMMITTED, fallbackMode: 'earliest' })
  stream.on('data', (message) => console.log(`${message.partition} ${message.offset} ${message.value}`))
  stream.on('error', giveUp)
  await once(process, 'SIGTERM')
  await stream.close()
  await consumer.close()
  process.disconnect()
}

async function group(...args) {
  let child = null
  let ending = false
  process.on('SIGTERM', () => {
    ending = true
    child.kill('SIGTERM')
  })
  do {
    child = fork(fileURLToPath(import.meta.url), ['member', brokers, topic, ...args])
    await once(child, 'exit')
  } while (!ending)
}

await { produce: () => produce(Number(rest[0]), Number(rest[1])), member: () => member(...rest), group: () => group(...rest) }[mode]()
