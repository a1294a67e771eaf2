import { CelError } from './values.ts';

/** What is left of the budget of a decision; an `Activation` is one. */
export interface Meter {
  /** Steps left; negative when spent. */
  stepsLeft: number;
}

/** Takes `steps` from the budget; the error to return when it is spent, null otherwise. */
export function charge(meter: Meter, steps: number): CelError | null {
  meter.stepsLeft -= steps;
  return meter.stepsLeft < 0 ? overBudget() : null;
}

/** The error of a spent budget. Once spent, every later charge fails too, so loops end at once. */
export function overBudget(): CelError {
  return new CelError('budget_exceeded', 'the decision took more steps than its budget allows');
}
