import { parentPort, workerData } from 'node:worker_threads'
import { loadPolicyParts, type PolicySource } from '../policy/load.ts'
import type { LoadedChunk } from './policy-load.ts'

/** To take in a message is work for the one who gets it, so no message is large. */
const rulesPerMessage = 250

/** Reads and checks a policy in a thread of its own and hands it over piece by piece. */
const loaded = loadPolicyParts(workerData as readonly PolicySource[])
if (!loaded.ok) say({ type: 'refused', problems: loaded.problems })
else {
  const { rules, derivations, ...head } = loaded.parts
  for (let at = 0; at < rules.length; at += rulesPerMessage)
    say({ type: 'rules', rules: rules.slice(at, at + rulesPerMessage) })
  for (let at = 0; at < derivations.length; at += rulesPerMessage)
    say({ type: 'derivations', derivations: derivations.slice(at, at + rulesPerMessage) })
  say({ type: 'end', head })
}

function say(chunk: LoadedChunk): void {
  parentPort?.postMessage(chunk)
}
