import type { JobTimeline } from '../../audit/fold.ts'

/** An answer of the gateway's HTTP API, whatever its status. */
export type ApiAnswer = { readonly status: number; readonly body: Record<string, unknown> }

/** A job as `GET /api/v1/jobs/{id}` tells it, as far as the drill looks. */
export type JobView = {
  readonly state: string
  readonly attempts: number
  readonly result: {
    readonly worker: string
    readonly body: unknown
    readonly findings: readonly Finding[]
  } | null
}
export type Finding = { readonly detector: string; readonly count: number; readonly action: string }

/** A trace as `GET /api/v1/traces/{id}` tells it. */
export type TraceView = {
  readonly trace_id: string
  readonly tenant: string
  readonly jobs: readonly JobTimeline[]
}

/** The HTTP API as anybody with an HTTP client sees it. */
export type Api = {
  post(path: string, body: unknown): Promise<ApiAnswer>
  /** Waits until the job is at rest, or `waitSec` are over. */
  job(id: string, waitSec: number): Promise<JobView>
  trace(id: string): Promise<TraceView>
}

const timeoutMs = 30_000

export function openApi(url: string): Api {
  const call = async (path: string, init: RequestInit = {}): Promise<ApiAnswer> => {
    const response = await fetch(`${url}/api/v1/${path}`, { ...init, signal: AbortSignal.timeout(timeoutMs) })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const get = async <T>(path: string): Promise<T> => {
    const { status, body } = await call(path)
    if (status !== 200) throw new Error(`GET ${path} answers ${status}: ${String(body['detail'])}`)
    return body as T
  }
  return {
    post: (path, body) =>
      call(path, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      }),
    job: (id, waitSec) => get<JobView>(`jobs/${id}?wait=${waitSec}`),
    trace: (id) => get<TraceView>(`traces/${id}`),
  }
}
