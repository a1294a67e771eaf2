import { IpeError } from '@ipe/core';

/**
 * Loads a broker's client, which is installed only where it is used.
 * @throws IpeError `unavailable` with the command that installs it.
 */
export async function loadBrokerClient<Module>(load: () => Promise<Module>, packages: string): Promise<Module> {
  try {
    return await load();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw new IpeError('unavailable', `this message plane needs \`${packages}\`; install it: npm install ${packages}`, {
      details: { packages },
      cause,
    });
  }
}
