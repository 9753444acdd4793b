import type { Topology } from '../config/topology.ts'

/** A consumer on APPROVALS, and what of it is shown there; without a filter everything. */
export type ApproverConsumer = { readonly name: string; readonly filter_subject?: string }

const forAll = 'approvers'

/**
 * The consumers that approvers pull from, made ahead because nobody but the owner may create one: one for all tenants, and one for
 * each tenant that somebody decides for who does not decide for all.
 */
export function approverConsumers({ approverTenants }: Topology): readonly ApproverConsumer[] {
  const tenants = [...new Set([...approverTenants.values()].flat())].toSorted()
  return [
    { name: forAll },
    ...tenants.map((tenant) => ({
      name: `${forAll}-${tenant}`,
      filter_subject: `approvals.pending.${tenant}.>`,
    })),
  ]
}

/** Where this approver pulls from. */
export function consumersOf({ approverTenants }: Topology, approver: string): readonly string[] {
  return approverTenants.get(approver)?.map((tenant) => `${forAll}-${tenant}`) ?? [forAll]
}

/** What this approver may hear of live. */
export function noticesOf({ approverTenants }: Topology, approver: string): readonly string[] {
  const all = ['approvals.notify.>']
  return approverTenants.get(approver)?.map((tenant) => `approvals.notify.*.${tenant}.*`) ?? all
}
