// Which threads are the sequences of a batch. Knows no page.

import type { Thread } from "../../protocol/messages";

/** A thread of a program has sequences by numbers of their own, which begin with its number. */
const PER_THREAD = 1000;

/** Those of the batch that is looked at: a program has other threads too. */
export function sequencesOf(threads: readonly Thread[], focused: number): Thread[] {
  const isSequence = ({ name }: Thread): boolean => /(^|· )sequence \d+: /.test(name);
  const first = focused < PER_THREAD ? focused : Math.floor(focused / PER_THREAD);
  const isOfProgram = threads.some(({ name }) => /· sequence \d+: /.test(name));
  return threads.filter(
    (each) => isSequence(each) && (!isOfProgram || each.id === first || Math.floor(each.id / PER_THREAD) === first),
  );
}
