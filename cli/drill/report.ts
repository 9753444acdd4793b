/** One tick of the drill. `evidence` is the server's own words, or where in AUDIT it stands. */
export type StepReport = { readonly name: string; readonly ok: boolean; readonly evidence: string }

/** Something that the drill expected did not hold; the message says what was there instead. */
export class Miss extends Error {}

/** Fails the step unless the condition holds. */
export function must(condition: boolean, instead: string): asserts condition {
  if (!condition) throw new Miss(instead)
}

/** Plays steps one after the other and keeps what came of them. A failed step does not stop the drill. */
export type Report = {
  step(name: string, play: () => Promise<string>): Promise<void>
  readonly steps: readonly StepReport[]
}

export function createReport(told: (step: StepReport) => void): Report {
  const steps: StepReport[] = []
  return {
    steps,
    step: async (name, play) => {
      let step: StepReport
      try {
        step = { name, ok: true, evidence: await play() }
      } catch (error) {
        step = { name, ok: false, evidence: error instanceof Error ? error.message : String(error) }
      }
      steps.push(step)
      told(step)
    },
  }
}
