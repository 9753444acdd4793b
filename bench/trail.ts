import { decodeRecord } from '../audit/record.ts'
import { connectAs } from './login.ts'
import type { Login } from './protocol.ts'

/** What AUDIT holds after a round, read as the auditor reads it. */
export type Trail = {
  /** Records that stand on a job's own subject, and how many such subjects there are. */
  records: number
  jobs: number
  /** The newest record of the job that was asked for, as stored; undefined where it is no allowance. */
  record: string | undefined
}

type Info = { state: { messages: number; num_subjects: number; subjects?: Record<string, number> } }

const besideTheJobs = 'audit._control'

/** Counts the records of jobs; `job` names one of them to be read. */
export async function readTrail(login: Login, job: string | undefined): Promise<Trail> {
  const connection = await connectAs(login)
  try {
    const ask = (subject: string, body: object | string) =>
      connection.request(subject, typeof body === 'string' ? body : JSON.stringify(body), { timeout: 10_000 })
    const info = (await ask('gov.API.STREAM.INFO.AUDIT', { subjects_filter: besideTheJobs })).json<Info>()
    const others = info.state.subjects?.[besideTheJobs] ?? 0
    const newest = job === undefined ? undefined : await ask(`gov.API.DIRECT.GET.AUDIT.audit.${job}`, '')
    const found = newest !== undefined && newest.headers?.code !== 404
    return {
      records: info.state.messages - others,
      jobs: info.state.num_subjects - (others > 0 ? 1 : 0),
      record: found && isAllowance(newest.data) ? newest.string() : undefined,
    }
  } finally {
    await connection.close()
  }
}

function isAllowance(bytes: Uint8Array): boolean {
  const { data } = decodeRecord(bytes)
  return data.event === 'allowed' && data.job_seq === 0
}
