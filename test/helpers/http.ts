import { Agent, request as httpRequest, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'

export type HttpAnswer = { status: number; headers: IncomingHttpHeaders; text: string; code: string }

export type HttpAsked = {
  readonly method?: string
  readonly token?: string
  readonly headers?: OutgoingHttpHeaders
  /** Sent as JSON. */
  readonly body?: unknown
  /** Which loopback address to call from. */
  readonly from?: string
  readonly agent?: Agent
  /** Trusted for https. */
  readonly ca?: string
}

/** Calls as anybody may: with any Host, Origin and address of its own, which `fetch` does not allow. */
export function ask(url: string, asked: HttpAsked = {}): Promise<HttpAnswer> {
  const { method = 'GET', token, body, from, agent, ca } = asked
  const send = url.startsWith('https:') ? httpsRequest : httpRequest
  const headers = {
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    ...asked.headers,
  }
  return new Promise((resolve, reject) => {
    const options = {
      method,
      headers,
      agent: agent ?? false,
      ...(from && { localAddress: from }),
      ...(ca && { ca }),
    }
    send(url, options, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('error', reject).on('end', () => {
        const json = String(response.headers['content-type']).includes('json')
        const code = json ? String((JSON.parse(text) as { code?: string }).code ?? '') : ''
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, code })
      })
    })
      .on('error', reject)
      .end(body === undefined ? undefined : JSON.stringify(body))
  })
}
