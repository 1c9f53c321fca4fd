// What a page does with worker.js; every outcome is posted back to the server that the page came from.
function scenario(Worker, base) {
  const ask = (name, kind, payload) => new Promise((resolve) => {
    const worker = new Worker();
    const outcome = {status: []};
    worker.status = (count) => outcome.status.push(count);
    const end = (what) => setTimeout(() => resolve({...outcome, ...what}), 50);
    worker.post(name, `${base}/${kind}`, payload, (result) => end({result}), (error) => end({error}));
  });

  const long = async (text, times) => {
    const {result, status} = await ask('long', 'big', {text, times});
    return {same: result === text.repeat(times), status};
  };

  // A second post under the same name takes the place of the first, whose task is stopped.
  const replaced = () => new Promise((resolve) => {
    const worker = new Worker();
    worker.post('same', `${base}/patient`, {seconds: 600}, () => resolve('the first came'));
    setTimeout(() => {
      worker.post('same', `${base}/echo`, 'second', (result) => setTimeout(() => resolve(result), 300));
    }, 1500);
  });

  const cancelled = () => new Promise((resolve) => {
    const worker = new Worker();
    worker.post('task', `${base}/patient`, {seconds: 601}, () => resolve('it came'));
    setTimeout(() => {
      const counts = [];
      worker.status = (count) => counts.push(count);
      worker.cancel('task');
      setTimeout(() => resolve(counts), 500);
    }, 1500);
  });

  const run = async () => {
    const [quick, slow, cargo, wide, failed, boom, missing, second, counts] = await Promise.all([
      ask('quick', 'echo', {text: 'ä😀', list: [1, null]}),
      ask('slow', 'slow', {seconds: 1.2}),
      long('0123456789', 100),
      long('é😀', 200),
      ask('failed', 'fail', {code: 418, message: 'teapot'}),
      ask('boom', 'boom', {}),
      ask('missing', 'nothing', {}),
      replaced(),
      cancelled(),
    ]);
    return {quick, slow, cargo, wide, failed, boom, missing, second, counts};
  };

  const tell = (outcome) => fetch('/outcome', {method: 'POST', body: JSON.stringify(outcome)});
  run().then(tell, (error) => tell({broken: String(error)}));
}
