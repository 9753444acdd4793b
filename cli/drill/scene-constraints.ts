import { type as systemName } from 'node:os'

import type { Answer } from '../../audit/answer.ts'
import { must, type Report } from './report.ts'
import { places, refusalOnRecord, type Stage } from './stage.ts'

const runsForSec = 60
const deadlineInMs = 3_000
const latenessMaxMs = 2_000

/** Commands that may run, within limits that do not depend on the worker's good will. */
export async function constraints(stage: Stage, report: Report): Promise<void> {
  await report.step('a command of medium risk really runs, and its limits came with it', () => limited(stage))
  await report.step('a command that fails gets the one retry that its rule grants, and no other', () =>
    retried(stage),
  )
  let sleeping: Answer | undefined
  let startedMs = 0
  await report.step('a result that somebody else makes up for a running command is refused', async () => {
    startedMs = Date.now()
    const deadline = new Date(startedMs + deadlineInMs).toISOString()
    const job = { risk_tags: ['medium'], deadline, payload: { seconds: runsForSec } }
    sleeping = await stage.submit('job.agent.exec.sleep', job)
    must(sleeping.state === 'DISPATCHED', `the command is ${sleeping.state}`)
    return forged(stage, sleeping.job_id)
  })
  await report.step('a command that runs too long is cut at its limit by the gateway', async () => {
    must(sleeping !== undefined, 'there is no command that runs')
    const { state } = await stage.api.job(sleeping.job_id, 15)
    const tookMs = Date.now() - startedMs
    must(state === 'TIMED_OUT', `it is ${state}`)
    must(tookMs < deadlineInMs + latenessMaxMs, `it took ${tookMs} ms`)
    return `${places(await stage.story(sleeping.job_id))}: ${runsForSec} s wanted, TIMED_OUT after ${tookMs} ms`
  })
  await report.step('what the worker says about it afterwards is refused', async () => {
    must(sleeping !== undefined, 'there is no command that ran')
    return refusalOnRecord(stage, sleeping.job_id, 'late-result')
  })
}

async function limited(stage: Stage): Promise<string> {
  const answer = await stage.submit('job.agent.exec.uname', { risk_tags: ['medium'] })
  const { type, constraints: decided } = answer.decision
  must(type === 'ALLOW_WITH_CONSTRAINTS', `it was decided ${type}`)
  must(
    decided?.max_runtime_sec === 45 && decided.max_retries === 1,
    `its limits are ${JSON.stringify(decided)}`,
  )
  const { state, result } = await stage.api.job(answer.job_id, 10)
  must(state === 'SUCCEEDED' && result !== null, `the job is ${state}`)
  const { stdout, limits } = result.body as { stdout: string; limits: unknown }
  must(stdout.startsWith(systemName()), `the command says ${stdout}`)
  must(
    JSON.stringify(limits) === JSON.stringify(decided),
    `the worker got the limits ${JSON.stringify(limits)}`,
  )
  const where = places(await stage.story(answer.job_id))
  return `${where}: ${result.worker} got ${JSON.stringify(limits)}; uname says ${stdout.trim()}`
}

async function retried(stage: Stage): Promise<string> {
  const { job_id } = await stage.submit('job.agent.exec.fail', { risk_tags: ['medium'] })
  const { state, attempts } = await stage.api.job(job_id, 15)
  must(state === 'FAILED' && attempts === 2, `it is ${state} after ${attempts} attempts`)
  const story = await stage.story(job_id)
  return `${places(story)}: ${story.events.map(({ event }) => event).join(', ')}`
}

/** A worker of another pool, and one who has the right name but was not given this token. */
async function forged(stage: Stage, job: string): Promise<string> {
  const headers = { 'Sluice-Attempt': '1', 'Sluice-Result-Token': '0'.repeat(64), 'Sluice-Status': 'ok' }
  await stage.idler.publish(`result.${stage.idler.name}.${job}`, '{"forged":true}', headers)
  const stranger = await refusalOnRecord(stage, job, 'wrong-pool')
  await stage.runner.publish(`result.${stage.runner.name}.${job}`, '{"forged":true}', headers)
  return `${stranger}; ${await refusalOnRecord(stage, job, 'bad-token')}`
}
