import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeRecord, type AuditRecord } from '../audit/record.ts'
import type { Credential } from './dev/credentials.ts'
import { connectOutsider, type Outsider } from './drill/outsider.ts'
import { Unreachable } from './gateway-client.ts'
import type { Call } from './subcommand.ts'

const inFlight = 64
const api = 'gov.API'

/** Records of a file, one JSON line each, as `nats stream get` or an export writes them. */
export async function* recordsOfFile(file: string): AsyncGenerator<AuditRecord> {
  for (const line of (await readFile(file)).toString().split('\n')) {
    if (line.trim() !== '') yield decodeRecord(Buffer.from(line))
  }
}

/**
 * Records of the AUDIT stream from a moment on, read as the auditor of a running `sluice dev` reads them: with that
 * credential and by sequence, without the gateway.
 */
export async function* recordsOfStream(call: Call, fromMs: number): AsyncGenerator<AuditRecord> {
  const auditor = await connectAuditor(call)
  try {
    const { state } = await auditor.ask<{ state: { first_seq: number; last_seq: number } }>(
      `${api}.STREAM.INFO.AUDIT`,
      '',
    )
    const first = await firstSince(auditor, state.first_seq, state.last_seq, fromMs)
    for (let from = first; from <= state.last_seq; from += inFlight) {
      const count = Math.min(inFlight, state.last_seq - from + 1)
      yield* await Promise.all(Array.from({ length: count }, (_, at) => recordAt(auditor, from + at)))
    }
  } finally {
    await auditor.close()
  }
}

async function connectAuditor(call: Call): Promise<Outsider> {
  const folder = call.text['data-dir'] ?? call.terminal.env['SLUICE_DATA_DIR'] ?? join('.sluice', 'dev')
  const file = join(folder, 'ready.json')
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined)
    throw new Unreachable(`there is no ${file}: say --data-dir, or read a file with --records FILE`)
  const ready = JSON.parse(text) as { nats_url: string; credentials: Credential[] }
  const auditor = ready.credentials.find(({ role }) => role === 'auditor')
  if (auditor === undefined) throw new Unreachable(`${file} has no credential of an auditor`)
  try {
    return await connectOutsider(ready.nats_url, auditor)
  } catch (error) {
    throw new Unreachable(`NATS does not let the auditor in: ${error instanceof Error ? error.message : ''}`)
  }
}

/** The first record that is not older; records stand in the order of time, so halving finds it. */
async function firstSince(auditor: Outsider, first: number, last: number, fromMs: number): Promise<number> {
  let [low, high] = [first, last + 1]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const { time } = await recordAt(auditor, middle)
    if (Date.parse(time) < fromMs) low = middle + 1
    else high = middle
  }
  return low
}

function recordAt(auditor: Outsider, sequence: number): Promise<AuditRecord> {
  return auditor.ask<AuditRecord>(`${api}.DIRECT.GET.AUDIT`, JSON.stringify({ seq: sequence }))
}
