// A stock @platformatic/kafka client driven by the end-to-end tests.
//
//   node platformatic.mjs produce BROKERS TOPIC FIRST COUNT         values 000000 and so on; prints how many were acknowledged
//   node platformatic.mjs group   BROKERS TOPIC GROUP [INSTANCE]    'partition offset value' a line, until SIGTERM
//
// Its clients do not follow a leader: what fails is repeated at the node it went to, whoever leads by then, and a consumer
// looks up its coordinator once in its life. When the retries are used up the application has to begin anew: 'produce' sends
// again what was refused, and 'group' is a parent that starts its member again when that gives up, as a service manager does.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Consumer, MessagesStreamModes, ProduceAcks, Producer, stringDeserializers } from '@platformatic/kafka'

const [mode, brokers, topic, ...rest] = process.argv.slice(2)
const connection = { clientId: 'platformatic-e2e', bootstrapBrokers: brokers.split(','), metadataMaxAge: 1000 }

// A new producer after each failure: the one that failed does not know what was stored, and would number the next records
// as if nothing was.
async function produce(first, count) {
  let producer = null
  let acknowledged = 0
  let failures = 0
  while (acknowledged < count) {
    producer ??= new Producer({ ...connection, idempotent: true, retries: 5, retryDelay: 100 })
    const messages = []
    for (let i = acknowledged; i < Math.min(acknowledged + 50, count); i++)
      messages.push({ topic, value: Buffer.from(`${String(first + i).padStart(6, '0')}`) })
    try {
      await producer.send({ messages, acks: ProduceAcks.ALL })
      acknowledged += messages.length
    } catch (error) {
      if (++failures > 20) throw error
      await producer.close().catch(() => {})
      producer = null
    }
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
  // The session outlasts a restart: a second of processor time, several on a busy machine.
  const consumer = new Consumer({
    ...connection, groupId, groupInstanceId, deserializers: stringDeserializers, sessionTimeout: 20000, heartbeatInterval: 500,
    rebalanceTimeout: 20000, maxWaitTime: 100, autocommit: 200, retries: 5, retryDelay: 100,
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
