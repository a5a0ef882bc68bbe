/**
 * True when the system's loader finds a shared library by this name.
 *
 * The loader itself is asked, as it alone knows where it looks. Node refuses what is no addon of its own, and says so only of what was found.
 * @param {string} name
 */
export function hasLibrary(name) {
  try {
    process.dlopen({ exports: {} }, name);
    return true;
  } catch (error) {
    return error.message.includes('did not self-register');
  }
}
