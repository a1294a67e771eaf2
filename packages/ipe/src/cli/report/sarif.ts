import type { CheckResult } from './result.ts';

/** SARIF 2.1.0 (OASIS), as code hosts show it beside the lines: problems and failed tests are results. */
export function sarif(result: CheckResult, version: string): string {
  const failed = result.tests
    .filter(({ passed }) => !passed)
    .map(({ file, line, name, message }) => ({
      file,
      line,
      column: undefined,
      endColumn: undefined,
      severity: 'error' as const,
      code: 'test_failed',
      message: `test \`${name}\`: ${message ?? 'failed'}`,
    }));
  const findings = [...result.problems, ...failed];
  const rules = [...new Set(findings.map(({ code }) => code))].sort().map((id) => ({ id }));
  const log = {
    version: '2.1.0',
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    runs: [
      {
        tool: { driver: { name: 'ipe', version, rules } },
        results: findings.map(({ code, severity, message, file, line, column, endColumn }) => ({
          ruleId: code,
          level: severity,
          message: { text: message },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: file.split('/').map(encodeURIComponent).join('/') },
                ...(line === undefined
                  ? {}
                  : {
                      region: {
                        startLine: line,
                        ...(column === undefined ? {} : { startColumn: column }),
                        ...(endColumn === undefined ? {} : { endColumn }),
                      },
                    }),
              },
            },
          ],
        })),
      },
    ],
  };
  return `${JSON.stringify(log, null, 2)}\n`;
}
