import { expect, test } from 'vitest'

import type {} from '../helpers/nats-server.ts'
import { nothingBroken, shown } from './count.ts'
import { figures, storm, type Storm } from './storm.ts'

/** Much longer than a held message waits before another gateway gets it. */
const pauseMs = Number(process.env['SLUICE_TEST_PAUSE_MS'] ?? 12_000)

/** Nothing false, nothing twice, nobody fallen: not while it stood still, and not when it went on with what it held. */
function expectAllWell(result: Storm): void {
  console.log(figures(result))
  expect(shown(result.broken)).toEqual(nothingBroken)
  const { falls, failedStarts, leftOver, missing } = result
  expect({ falls, failedStarts, leftOver, missing }).toEqual({
    falls: [],
    failedStarts: [],
    leftOver: {},
    missing: 0,
  })
}

// Both mostly wait for what the stopped gateway held, so they do it side by side, each on a server of its own.
test.concurrent('a gateway that is stopped and continued beside another writes nothing false and dispatches nothing twice', async () => {
  expectAllWell(await storm({ jobs: 500, pauseMs }))
}, 400_000)

test.concurrent('a gateway that is alone, stopped and continued takes up its work where it was', async () => {
  expectAllWell(await storm({ jobs: 300, gateways: 1, pauseMs }))
}, 400_000)
