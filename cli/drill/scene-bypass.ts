import { must, type Report } from './report.ts'
import type { Outsider } from './outsider.ts'
import type { Stage } from './stage.ts'

const nobodysJob = 'default.m0000000000000000000000000000drill'

/** What would be a way round the gate; the server knows nobody but the gateway there. */
const waysRound = [
  `worker.helpdesk.mcp-bridge.write.close_ticket.${nobodysJob}.1`,
  `gov.dispatch.helpdesk.mcp-bridge.write.close_ticket.${nobodysJob}.1`,
  `audit.${nobodysJob}`,
]

/** Everybody who has a credential tries to go round the gate. */
export async function bypass(stage: Stage, report: Report): Promise<void> {
  await report.step('an agent that publishes to a worker, to WORK or to AUDIT is refused by the server', () =>
    allRefused(stage.agent, waysRound),
  )
  await report.step("a worker is refused there too, and in a colleague's name", () =>
    allRefused(stage.idler, [...waysRound, `result.helpdesk-1.${nobodysJob}`]),
  )
  await report.step("an approver is refused there too, and in a colleague's name", () =>
    allRefused(stage.approver, [...waysRound, `approvals.resolve.second-approver.${nobodysJob}`]),
  )
}

async function allRefused(who: Outsider, subjects: readonly string[]): Promise<string> {
  const words: string[] = []
  for (const subject of subjects) {
    const refusal = await who.refused(subject)
    must(refusal !== undefined, `the server let ${who.name} publish to ${subject}`)
    words.push(refusal)
  }
  return words.join('; ')
}
