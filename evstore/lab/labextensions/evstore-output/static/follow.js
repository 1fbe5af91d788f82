// A page that is opened in the middle of a cell which another page has started gets none of its output:
// front ends ignore messages in answer to what they have not asked for. This extension asks evstore which
// cells of an open notebook run with nobody to see them, and follows those: what they have put out goes
// into the open notebook, and what they put out comes as it comes. The server keeps away from the document
// meanwhile (evstore/services/detached_output.py); at the end, the notebook is saved.
//
// Written as browsers run it: a container for webpack's module federation, which needs nothing from others.
(() => {
  'use strict';

  const AGAIN = 5000; // milliseconds until a cell that is somebody else's is asked about again
  const WAIT = 15; // seconds for which the server holds an answer back until there is news
  const PAUSE = 300; // milliseconds between questions: each answer is drawn
  const RETRIES = 20; // questions that may fail in a row

  const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

  class Follower {
    constructor(panel, context, settings) {
      this._panel = panel;
      this._context = context;
      this._settings = settings;
      this._following = new Set();
      this._looking = false;
      this._lookAgain = false;
      this._gone = new AbortController();
      this.isDisposed = false;
      this._look = () => void this._lookAround();
      this._wasAway = false;
      this._mustAsk = true; // even while this page runs a cell
      this._reconnected = (_, status) => {
        if (status === 'connected' && this._wasAway) {
          this._mustAsk = true;
          void this._returned();
        }
        this._wasAway = status !== 'connected';
      };
      const session = context.sessionContext;
      session.connectionStatusChanged.connect(this._look);
      session.connectionStatusChanged.connect(this._reconnected);
      session.statusChanged.connect(this._look);
      panel.disposed.connect(() => this.dispose());
      void context.ready.then(this._look);
    }

    dispose() {
      if (this.isDisposed) {
        return;
      }
      this.isDisposed = true;
      this._gone.abort();
      const session = this._context.sessionContext;
      session.connectionStatusChanged.disconnect(this._look);
      session.connectionStatusChanged.disconnect(this._reconnected);
      session.statusChanged.disconnect(this._look);
    }

    get _kernel() {
      const kernel = this._context.sessionContext.session?.kernel;
      return kernel && kernel.connectionStatus === 'connected' ? kernel : null;
    }

    // Ask what runs, once and, while something runs that is not ours, again.
    async _lookAround() {
      this._lookAgain = true;
      if (this._looking) {
        return;
      }
      this._looking = true;
      try {
        while (this._lookAgain && !this.isDisposed) {
          this._lookAgain = false;
          await this._context.ready;
          const kernel = this._kernel;
          if (kernel === null || (this._isRunningOurs() && !this._mustAsk)) {
            continue;
          }
          this._mustAsk = false;
          const executions = await this._get(executionsOf(kernel));
          for (const execution of executions) {
            if (execution.abandoned) {
              void this._follow(kernel, execution);
            }
          }
          const others = executions.filter(each => each.state !== 'done' && !this._following.has(each.id));
          if (others.length > 0 && !this._isRunningOurs()) {
            await sleep(AGAIN);
            this._lookAgain = true;
          }
        }
      } catch (error) {
        this._complain(error);
      } finally {
        this._looking = false;
      }
    }

    // Whether this page itself runs a cell: then no other runs, and it gets its output as always.
    _isRunningOurs() {
      return this._panel.content.widgets.some(
        cell => cell.model.executionState === 'running' && futureOf(cell) !== null
      );
    }

    async _follow(kernel, execution) {
      const cell = this._panel.content.widgets.find(each => each.model.id === execution.cell);
      if (!cell || cell.model.type !== 'code' || this._following.has(execution.id)) {
        return;
      }
      this._following.add(execution.id);
      const before = futureOf(cell);
      const isOurs = () => !this.isDisposed && !cell.isDisposed && futureOf(cell) === before;
      try {
        let cursor = '';
        let failures = 0;
        while (isOurs()) {
          let news;
          try {
            const query = `?after=${cursor}&wait=${cursor ? WAIT : 0}`;
            news = await this._get(`${executionsOf(kernel)}/${encodeURIComponent(execution.id)}${query}`);
            failures = 0;
          } catch (error) {
            if (this.isDisposed || kernel.isDisposed || ++failures > RETRIES) {
              return;
            }
            await sleep(AGAIN);
            continue;
          }
          if (!isOurs()) {
            return;
          }
          const isNew = news.cursor !== cursor || news.reset;
          cursor = news.cursor;
          this._quietly(() => show(cell.model, news));
          if (news.state === 'done' && !isNew) {
            if (await this._settle()) {
              return;
            }
          }
          await sleep(news.state === 'done' && !isNew ? AGAIN : PAUSE);
        }
      } catch (error) {
        this._complain(error);
      } finally {
        this._following.delete(execution.id);
      }
    }

    // All has come: save it, unless there are edits that their author has not saved. True when all is saved.
    async _settle() {
      const context = this._context;
      if (context.model.dirty) {
        return false;
      }
      if (context.contentsModel?.writable) {
        await context.save();
      }
      return true;
    }

    // What we change is no edit of the user's: it is kept by the server until it is saved.
    _quietly(change) {
      const model = this._context.model;
      const wasDirty = model.dirty;
      change();
      if (!wasDirty) {
        model.dirty = false;
      }
    }

    // This page was away (the computer slept), so long that the server has put what came meanwhile into the
    // document. The page gets it all from the kernel as well: so its user need not be asked about the other
    // version when it is saved. If anybody else has written the document, JupyterLab asks as always.
    async _returned() {
      const context = this._context;
      const known = context.contentsModel?.hash;
      if (!known || typeof context._updateContentsModel !== 'function') {
        return;
      }
      try {
        const path = context.localPath.split('/').map(encodeURIComponent).join('/');
        const { versions } = await this._get(`api/history/versions/${path}?limit=50`);
        const contents = versions.filter(each => each.digest); // and not marks and moves
        const ours = contents.findIndex(each => each.digest === known);
        if (ours < 1 || contents.slice(0, ours).some(each => each.actor !== 'kernel')) {
          return;
        }
        const model = await this._get(`api/contents/${path}?type=notebook&content=1&hash=1`);
        const executions = this._kernel ? await this._get(executionsOf(this._kernel)) : [];
        if (model.hash === contents[0].digest && context.contentsModel.hash === known) {
          this._quietly(() => this._takeOver(model.content, executions));
          context._updateContentsModel(model);
        }
      } catch (error) {
        this._complain(error);
      }
    }

    // Of cells that have ended, and whose output went to another page, the document has it.
    _takeOver(content, executions) {
      const ran = content.cells.filter(each => each.cell_type === 'code' && each.execution_count !== null);
      for (const { id, outputs, execution_count } of ran) {
        const cell = this._panel.content.widgets.find(each => each.model.id === id);
        if (cell?.model.type !== 'code' || execution_count <= (cell.model.executionCount ?? 0)) {
          continue;
        }
        const asked = futureOf(cell)?.msg.header.msg_id;
        const execution = executions.find(each => each.id === asked);
        const isComing = execution && (execution.attended || execution.state !== 'done');
        if (cell.model.executionState !== 'running' || !isComing) {
          show(cell.model, { reset: true, outputs, state: 'done', execution_count });
        }
      }
    }

    async _get(path) {
      const { baseUrl, init, token } = this._settings;
      const url = `${baseUrl}${path}`;
      const headers = token ? { Authorization: `token ${token}` } : {};
      const options = { ...init, method: 'GET', headers, cache: 'no-store', signal: this._gone.signal };
      const response = await fetch(url, options);
      if (!response.ok) {
        throw new Error(`${response.status} for ${url}`);
      }
      return response.json();
    }

    _complain(error) {
      if (!this.isDisposed) {
        console.warn('evstore-output:', error);
      }
    }
  }

  function executionsOf(kernel) {
    return `api/kernels/${encodeURIComponent(kernel.id)}/executions`;
  }

  // What this page itself has executed in a cell last.
  function futureOf(cell) {
    return cell.outputArea?.future ?? null;
  }

  function show(model, news) {
    if (news.reset) {
      model.outputs.clear();
    }
    for (const output of news.outputs) {
      model.outputs.add(output); // text goes on where text of the same stream ended
    }
    if (news.state === 'done') {
      model.executionState = 'idle';
      model.executionCount = news.execution_count;
    } else {
      model.executionState = 'running';
    }
  }

  const plugin = {
    id: 'evstore-output:follow',
    description: 'Shows what cells put out whose page was closed.',
    autoStart: true,
    activate: app => {
      const settings = app.serviceManager.serverSettings;
      app.docRegistry.addWidgetExtension('Notebook', {
        createNew: (panel, context) => new Follower(panel, context, settings)
      });
    }
  };

  const modules = { './extension': () => ({ __esModule: true, default: plugin }) };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['evstore-output'] = {
    init: () => undefined,
    get: name => (name in modules ? Promise.resolve(modules[name]) : Promise.reject(new Error(name)))
  };
})();
