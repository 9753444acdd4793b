import { readFile } from 'node:fs/promises'
import { secondsOf, show, watch } from './job-look.ts'
import type { ShownJob } from './job-text.ts'
import { exitCodeOf } from './outcome-codes.ts'
import { refused, UsageError, type Call, type Subcommand } from './subcommand.ts'

export const jobSubmit: Subcommand = {
  about: 'submit a job and show the decision',
  help: `usage: sluice job submit TOPIC [options]
       sluice job submit --file JOB.json

Submits a job and shows what was decided. The exit code says it, too: 0 dispatched, 3 denied, 4 waits for a person,
7 waits for room; with --wait it is that of the job's end.

  sluice job submit job.mcp-bridge.read.get_ticket --payload '{"id":"T-1"}' --wait
  sluice job submit job.mcp-bridge.write.update_ticket --tag prod --label mcp.action=write
  echo '{"topic":"job.mcp-bridge.read.get_ticket"}' | sluice job submit --file -

  --payload JSON    what the worker gets; --payload-file FILE reads it from a file, or - for standard input
  --tag TAG         a risk tag; may be said several times
  --label KEY=TEXT  a label; may be said several times
  --trace-id ID     ties several jobs together
  --capability X    what the job needs; --requires X may be said several times
  --deadline TIME   RFC 3339; after it nothing runs
  --tenant NAME     must be the caller's own
  --file FILE       a whole job; sent byte for byte
  --id KEY          idempotency key: the same key and job twice is one job
  --wait            follow the job to its end; --timeout N gives up after so many seconds`,
  options: {
    payload: 'text',
    'payload-file': 'text',
    tag: 'list',
    label: 'list',
    'trace-id': 'text',
    capability: 'text',
    requires: 'list',
    deadline: 'text',
    tenant: 'text',
    file: 'text',
    id: 'text',
    wait: 'flag',
    timeout: 'text',
  },
  words: { min: 0, max: 1 },
  run: submit,
}

async function submit(call: Call): Promise<number> {
  const timeoutSec = secondsOf(call, 'timeout')
  const body = call.text['file'] === undefined ? await jobOf(call) : await fileOf(call)
  const { id } = call.text
  const headers: Record<string, string> = id === undefined ? {} : { 'Idempotency-Key': id }
  const reply = await (await call.gateway()).call('POST', '/api/v1/jobs', { body, headers })
  if (reply.status !== 202) return refused(call, reply)
  const job = reply.body as unknown as ShownJob
  if (!call.flags.has('wait')) {
    show(call, job)
    return exitCodeOf(job.state)
  }
  call.terminal.err(`submitted ${job.job_id}`)
  return watch(call, job.job_id, timeoutSec)
}

/** A whole job stands in the file: nothing is added to it, so that its bytes stay its own. */
async function fileOf(call: Call): Promise<Uint8Array> {
  const beside = ['payload', 'payload-file', 'trace-id', 'capability', 'deadline', 'tenant'].filter(
    (name) => call.text[name] !== undefined,
  )
  if (call.rest.length > 0 || beside.length > 0 || Object.keys(call.lists).length > 0)
    throw new UsageError('--file is the whole job: say the rest in the file')
  return read(call, call.text['file'] ?? '-')
}

/** The job that topic and options of the command line describe. */
export async function jobOf(call: Call): Promise<object> {
  const [topic] = call.rest
  if (topic === undefined) throw new UsageError('say the topic, or --file')
  const { text, lists } = call
  const optional = {
    tenant_id: text['tenant'],
    risk_tags: lists['tag'],
    labels: lists['label'] === undefined ? undefined : Object.fromEntries(lists['label'].map(labelOf)),
    capability: text['capability'],
    requires: lists['requires'],
    payload: await payloadOf(call),
    deadline: text['deadline'],
    trace_id: text['trace-id'],
  }
  return { topic, ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) }
}

function labelOf(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError('--label is KEY=TEXT')
  return [text.slice(0, at), text.slice(at + 1)]
}

async function payloadOf(call: Call): Promise<unknown> {
  const { payload, 'payload-file': file } = call.text
  if (payload !== undefined && file !== undefined) throw new UsageError('say --payload or --payload-file')
  if (payload === undefined && file === undefined) return undefined
  const text = payload ?? Buffer.from(await read(call, file ?? '-')).toString()
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new UsageError('the payload is not JSON; text needs its quotes: \'"text"\'')
  }
}

async function read(call: Call, file: string): Promise<Uint8Array> {
  if (file === '-') return call.terminal.input()
  try {
    return await readFile(file)
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'failed'}`)
  }
}
