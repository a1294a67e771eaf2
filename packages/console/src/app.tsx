import { useState } from 'preact/hooks';
import { claimedCommit, judge, type Verdict } from './proof.ts';

/** The proof reader: a proof and a trusted root in, a verdict out. */
export function App() {
  const [text, setText] = useState('');
  const [root, setRoot] = useState('');
  const claimed = claimedCommit(text);
  const verdict = text !== '' && root !== '' ? judge(text, root) : undefined;
  const open = async (file: File | undefined) => {
    if (file) setText(await file.text());
  };
  return (
    <main>
      <h1>Proof reader</h1>
      <p>
        Checks, in this browser and offline, what <code>ipe prove PATH</code> printed: that a policy, a directory or
        nothing at all stood at a path of a root that you trust.
      </p>
      <label>
        Proof
        <textarea
          id="proof"
          rows={8}
          spellcheck={false}
          placeholder="Paste the JSON, or choose a file"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <input type="file" accept="application/json" onChange={(event) => void open(event.currentTarget.files?.[0])} />
      <label>
        Root commit that you trust
        <input id="root" spellcheck={false} value={root} onInput={(event) => setRoot(event.currentTarget.value)} />
      </label>
      {claimed !== '' && (
        <p class="hint">
          The proof itself names <code>{claimed}</code>. Take the root from elsewhere, such as <code>ipe log</code> at
          another instance: a proof cannot vouch for its own root.
        </p>
      )}
      {verdict && <Shown verdict={verdict} />}
    </main>
  );
}

function Shown({ verdict }: { verdict: Verdict }) {
  if (verdict.kind === 'refused') {
    return (
      <section id="verdict" class="refused">
        <h2>Not proven</h2>
        <p>{verdict.why}</p>
      </section>
    );
  }
  const { proven, nodes, sizeBytes } = verdict;
  const place = proven.path === '' ? 'the root' : proven.path;
  return (
    <section id="verdict" class="proven">
      <h2>Proven</h2>
      {proven.kind === 'policy' && <p>A policy stands at {place}.</p>}
      {proven.kind === 'directory' && (
        <p>
          A directory of exactly {proven.children.length} entries stands at {place}.
        </p>
      )}
      {proven.kind === 'absent' && (
        <p>
          Nothing stands at {place}: {proven.within === '' ? 'the root' : proven.within} is there, and does not hold it.
        </p>
      )}
      <dl>
        <dt>Root</dt>
        <dd>{proven.root}</dd>
        <dt>Committed</dt>
        <dd>{new Date(proven.timeMs).toISOString()}</dd>
        {proven.kind !== 'absent' && <dt>Tree</dt>}
        {proven.kind !== 'absent' && <dd>{proven.hash}</dd>}
        {proven.kind === 'policy' && <dt>Source</dt>}
        {proven.kind === 'policy' && <dd>{proven.files.source}</dd>}
        <dt>Checked</dt>
        <dd>
          {nodes} nodes, {sizeBytes} bytes
        </dd>
      </dl>
      {proven.kind === 'directory' && (
        <ul>
          {proven.children.map(({ name, kind, hash }) => (
            <li key={name}>
              {kind === 'directory' ? `${name}/` : name} <code>{hash.slice(0, 12)}</code>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
