import { run as runDev } from './dev/run.ts'
import { readDevOptions } from './dev/options.ts'
import { exitCodes } from './exit-codes.ts'

const help = `usage: sluice dev [options]

Starts everything on loopback with the demo policy, agents and workers, and stays up until Ctrl-C: a private
nats-server, gateways, demo workers. For trying things out, not for production.

  --policy FILE     another policy; changes of the file take effect while it runs
  --data-dir DIR    where everything is kept (default .sluice/dev); removing it is starting afresh
  --http-port N     the first gateway's port, 0 for any (default 8081, or any if that is taken)
  --nats-port N     the server's port (default any)
  --gateways N      how many gateways (default 1)
  --no-demo         no demo workers; their credentials are there for yours
  --json            one line of JSON on standard output when ready, everything else on standard error`

/** `sluice dev`, which is `npm start`. */
export async function run(args: string[]): Promise<number> {
  const read = readDevOptions(args, process.env)
  switch (read.type) {
    case 'help':
      console.log(help)
      return exitCodes.ok
    case 'usage':
      console.error(`${read.problem}\n\n${help}`)
      return exitCodes.usage
    case 'options':
      return runDev(read.options)
  }
}
