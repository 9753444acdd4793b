/** What the processes of a round say to each other, over Node's own channel between parent and child. */

/** Where and as whom a process connects; the first argument of each, as JSON. */
export type Login = { url: string; user?: string; password?: string; inboxPrefix: string }

/** `closed`: as fast as `window` jobs on their way allow. `open`: so many a second, whatever comes back. */
export type AgentOrder =
  | { type: 'closed'; first: number; count: number; window: number }
  | { type: 'open'; first: number; count: number; perSec: number }
  | { type: 'credit'; received: number }

export type AgentWord = { type: 'ready' } | { type: 'begun'; atUs: number } | { type: 'sent'; tookUs: number }

/** `expect` begins a phase; `report` asks for what has been seen since the first one. */
export type WorkerOrder = { type: 'expect'; first: number; count: number } | { type: 'report' }

export type WorkerWord =
  | { type: 'expecting' }
  | { type: 'ready' }
  | { type: 'credit'; received: number }
  | { type: 'complete'; atUs: number; latencies: number[] }
  | { type: 'seen'; jobs: number; doubled: number; unknown: number; sample: Sample | undefined }

/** The newest message that the worker got: what the bare pipeline sends as constants. */
export type Sample = { headers: [string, string][]; subject: string }

/** The record and the headers of a governed job; the bare pipeline writes the same bytes under other ids. */
export type Constants = { record: string; headers: [string, string][] }

export type GatewayWord = { type: 'ready' } | { type: 'failed'; why: string }
