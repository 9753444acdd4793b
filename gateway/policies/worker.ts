import { parentPort, workerData } from 'node:worker_threads'
import { loadPolicyParts, type PolicySource } from '../../policy/load.ts'
import type { LoadedChunk } from './load.ts'

/** To take in a message is work for the one who gets it, so no message is large. */
const rulesPerMessage = 100

/** Reads and checks a policy in a thread of its own and hands it over piece by piece, each when it is asked for. */
const pieces = chunks(workerData as readonly PolicySource[])
parentPort?.on('message', () => {
  const { value, done } = pieces.next()
  if (done === true) parentPort?.close()
  else parentPort?.postMessage(value)
  if (value?.type === 'refused' || value?.type === 'end') parentPort?.close()
})

function* chunks(sources: readonly PolicySource[]): Generator<LoadedChunk> {
  const loaded = loadPolicyParts(sources)
  if (!loaded.ok) return yield { type: 'refused', problems: loaded.problems }
  const { rules, derivations, ...head } = loaded.parts
  for (let at = 0; at < rules.length; at += rulesPerMessage)
    yield { type: 'rules', rules: rules.slice(at, at + rulesPerMessage) }
  for (let at = 0; at < derivations.length; at += rulesPerMessage)
    yield { type: 'derivations', derivations: derivations.slice(at, at + rulesPerMessage) }
  yield { type: 'end', head }
}
