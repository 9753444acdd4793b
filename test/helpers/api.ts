/** An answer of the API, with its body as JSON if it is JSON. */
export type ApiAnswer = {
  status: number
  headers: Headers
  type: string
  body: Record<string, unknown>
  text: string
}

export type ApiCall = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<ApiAnswer>

/** Calls the API as curl would: an object is sent as JSON, text and bytes as they are, undefined sends no body. */
export function apiOf(url: string): ApiCall {
  return async (method, path, body, headers = {}) => {
    const raw = body === undefined || typeof body === 'string' || body instanceof Uint8Array
    const response = await fetch(url + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
    })
    const text = await response.text()
    const type = response.headers.get('content-type') ?? ''
    const json = type.includes('json') && text !== '' ? (JSON.parse(text) as Record<string, unknown>) : {}
    return { status: response.status, headers: response.headers, type, body: json, text }
  }
}
