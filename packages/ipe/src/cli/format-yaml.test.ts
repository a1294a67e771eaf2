import { expect, test } from 'vitest';
import { formatYaml } from './format-yaml.ts';

test('fields come in the order of the documentation, comments and expressions stay', () => {
  const text = `# Two seniors.
validations:
    - reason: a_b  # stable
      expression: 'size(x) >= 2 && "a" in y'
description: d
`;
  expect(formatYaml(text, 'a.policy.yaml')).toBe(`# Two seniors.

description: d
validations:
  - reason: a_b # stable
    expression: 'size(x) >= 2 && "a" in y'
`);
});

test('formatting what is formatted changes nothing', () => {
  const text = 'b: 1\nvalidations: [{ expression: "true" }]\ntests:\n  - name: x\n';
  const once = formatYaml(text, 'a.policy.yaml');
  expect(formatYaml(once, 'a.policy.yaml')).toBe(once);
});

test('an anchor stays before what refers to it', () => {
  const text = 'tests:\n  - { name: x, request: { id: 1 } }\nrequest: &r { id: 2 }\n';
  expect(formatYaml(text, 'a.test.yaml')).toBe('request: &r {id: 2}\ntests:\n  - {name: x, request: {id: 1}}\n');
});

test('what is not YAML is named with its line', () => {
  expect(() => formatYaml('a: [1\nb: 2\n', 'x.policy.yaml')).toThrow(/^x\.policy\.yaml:\d+: /);
});
