import type { TestNats } from './nats-server.ts'

/** The answer to a resolution, or the problem that it is refused with. */
export type Answered = {
  status?: number
  code?: string
  state?: string
  detail?: string
  resolution?: { decision: string; by: string; via: string; note: string }
}

/** Says something about a job; an empty wish approves it. */
export type Resolve = (job: string, wish?: object) => Promise<Answered>

/** Somebody with an approver's credential, who asks by request as any NATS client does. */
export async function approverOn(nats: TestNats, name: string): Promise<Resolve> {
  const connection = await nats.connect(name)
  return async (job, wish = {}) => {
    const body = JSON.stringify({ decision: 'approve', note: '', ...wish })
    return (await connection.request(`approvals.resolve.${name}.${job}`, body, { timeout: 15_000 })).json()
  }
}
