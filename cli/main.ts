import { nearest } from '../policy/suggest.ts'
import { version } from '../gateway/version.ts'
import { exitCodes } from './exit-codes.ts'

/** A command takes what follows its name and returns the exit code. */
type Command = { run(args: string[]): Promise<number> }

/** Loaded only when called: a quick question must not pay for the whole gateway. */
const commands: Readonly<Record<string, { about: string; load: () => Promise<Command> }>> = {
  dev: {
    about: 'everything on loopback: nats-server, gateways, demo workers',
    load: () => import('./dev.ts'),
  },
  drill: { about: 'the controlled drill, every refusal on the way', load: () => import('./drill.ts') },
  serve: { about: 'one gateway, as sluice.yaml says', load: () => import('./serve.ts') },
  provision: { about: 'make the streams, as their owner', load: () => import('./provision.ts') },
  job: { about: 'submit, look at, follow, cancel', load: () => import('./job.ts') },
  approval: { about: 'what waits for a person, and deciding', load: () => import('./approval.ts') },
  control: { about: 'the kill switch: what is stopped, stop, resume', load: () => import('./control.ts') },
  keys: { about: 'what tickets and results are signed with', load: () => import('./keys.ts') },
  trace: { about: 'the whole story of a trace', load: () => import('./trace.ts') },
  'can-i': { about: 'what would become of a job', load: () => import('./can-i.ts') },
  policy: { about: 'check, test, explain and compare policies', load: () => import('./policy.ts') },
  nats: { about: "the server's configuration, and the proof that it holds", load: () => import('./nats.ts') },
  doctor: { about: 'is the server safe to stand behind the gate?', load: () => import('./doctor.ts') },
  token: { about: 'who may call over HTTP: make a token, list them', load: () => import('./token.ts') },
  config: { about: 'show every setting and where it comes from', load: () => import('./config.ts') },
}

process.exit(await main(process.argv.slice(2)))

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    console.log(usage())
    return name === undefined ? exitCodes.usage : exitCodes.ok
  }
  if (name === '--version' || name === 'version') {
    console.log(version)
    return exitCodes.ok
  }
  // Own keys only: `sluice constructor` is no command.
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) {
    const meant = nearest(name, Object.keys(commands))
    console.error(
      `sluice: unknown command ${name}${meant === undefined ? '' : `; did you mean ${meant}?`}\n\n${usage()}`,
    )
    return exitCodes.usage
  }
  try {
    return await (await command.load()).run(args)
  } catch (error) {
    console.error(`sluice ${name}: ${error instanceof Error ? error.message : String(error)}`)
    return exitCodes.failed
  }
}

function usage(): string {
  const lines = Object.entries(commands).map(([name, { about }]) => `  ${name.padEnd(12)}${about}`)
  return [
    'usage: sluice <command> [options]',
    '',
    ...lines,
    '',
    'sluice <command> --help says more; sluice --version says which this is.',
  ].join('\n')
}
