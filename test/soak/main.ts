import { readArguments } from '../../cli/arguments.ts'
import { findNats } from '../../cli/dev/nats-binary.ts'
import { exitCodes } from '../../cli/exit-codes.ts'
import { shown } from '../crash/count.ts'
import { soak } from './soak.ts'

const help = `usage: npm run soak -- [--minutes N] [--seed N] [--json]

Sends everything hostile there is, over HTTP and NATS and as everybody who has a credential, to two gateways on a server of
its own, for so long (default 10 minutes). Then counts from the streams: no gateway has ended, every job that somebody
was told about is on record and has ended, nothing was dispatched without its record, nothing is left in a queue, and what
the gateways hold after collecting their garbage does not grow. Exit code 1 if anything of it is otherwise.

  --minutes N  how long; 0.2 is enough to see that it runs
  --seed N     repeats what was sent, as far as processes can be repeated`

const say = (line: string): void => console.error(line)

process.exit(await main(process.argv.slice(2)))

async function main(args: readonly string[]): Promise<number> {
  const given = readArguments(args, { minutes: 'text', seed: 'text', json: 'flag', help: 'flag' })
  const minutes = given.ok ? Number(given.text['minutes'] ?? '10') : NaN
  const seed = given.ok && given.text['seed'] !== undefined ? Number(given.text['seed']) : undefined
  if (!given.ok || given.rest.length > 0 || !(minutes > 0 && minutes <= 600) || Number.isNaN(seed ?? 0)) {
    say(`${given.ok ? '--minutes and --seed are numbers' : given.problem}\n\n${help}`)
    return exitCodes.usage
  }
  if (given.flags.has('help')) {
    console.log(help)
    return exitCodes.ok
  }
  const search = await findNats(process.env, say)
  if (!search.ok) {
    for (const line of search.lines) say(line)
    return exitCodes.unreachable
  }
  process.env['SLUICE_TEST_NATS_BINARY'] = search.nats.binary
  const done = await soak(minutes, seed, say)
  const { broken, falls, untrue, failures, leftOver, missing, leaks } = done
  const wrong = [...Object.values(broken).flat(), ...falls, ...untrue, ...failures, ...leaks]
  const ok = wrong.length === 0 && Object.keys(leftOver).length === 0 && missing === 0
  const report = {
    ok,
    ...done,
    broken: shown(broken),
    untrue: untrue.slice(0, 5),
    failures: failures.slice(0, 5),
  }
  if (given.flags.has('json')) console.log(JSON.stringify(report))
  else console.log(JSON.stringify(report, null, 2))
  return ok ? exitCodes.ok : exitCodes.failed
}
