//! `jeton serve`: starts a server from its flags, and shuts it down.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Command;

use super::audited::Audited;
use super::certificates::Certificates;
use super::config::mistaken;
use super::descriptors::places;
use super::fresh::{Fresh, FreshKeys};
use super::node::{Running, view_of};
use super::process::Process;
use super::recovering::{Watch, open, with_secret};
use super::reload::Reload;
use super::serve_error::ServeError;
use super::servers::{Servers, say_ready};
use super::service_manager::{self, Vitals};
use super::settings::{Given, ServeConfig, Settings};
use super::{environment, explain, hardening, logging, out};
use crate::audit::{Audit, EventOutcome};
use crate::build_info::VERSION_AND_COMMIT;
use crate::clock::{Clock, SystemClock};
use crate::cluster::node::NodeError;
use crate::engine::Engine;
use crate::http::admin::{Admin, Guard, Started};
use crate::keys::{self, Fingerprint, KeyEntry, Keys, Table};
use crate::model::namespace::{DEFAULT_NAMESPACE, TagOwners};
use crate::model::text::duration_text;
use crate::model::token::{Digester, Secret};
use crate::net::listen;
use crate::net::listen::{ListenAddress, Listeners};
use crate::service::quotas::Quotas;
use crate::trace::{self, Exporter, Tracer};
use crate::{http, resp};

/// Runs a server. `command` is the complete command line, which defines the known environment
/// variables.
pub(super) fn run(given: &Given, process: Process, command: &Command) -> ExitCode {
    let read = Settings::read(given).map_err(|mistake| vec![mistake]);
    let (mut config, settings) = match read.and_then(|read| Ok((read.check()?, read))) {
        Ok(checked) => checked,
        Err(mistakes) => return mistaken(&mistakes),
    };
    config.engine.give_memory_back = Some(process.give_memory_back);
    // Before any thread is started, and before the secret is read.
    let restrictions = hardening::harden(config.allow_core);
    let set_log_filter = logging::start(&mut config);
    config.limit_memory();
    restrictions.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Some(variables) = environment::unknown(command) {
        tracing::warn!("unknown environment variables are ignored: {variables}");
    }
    let mut stated = settings.stated(&super::reload::AT_RUN_TIME);
    if let Some(command) = &config.secret_command {
        // An argument may be a secret.
        stated.insert("secret-command".to_owned(), command.to_string());
    }
    let reload = Reload::new(given, settings, set_log_filter);
    let data = config.engine.data_dir.clone().unwrap_or_default();
    process.end(match serve(config, stated, reload, process) {
        Ok(()) => 0,
        Err(error) => {
            let said = match &error {
                ServeError::Open(error) => explain::open(&data, error),
                error => error.to_string(),
            };
            out::tell!("error: {said}");
            error.code()
        }
    })
}

/// The parts of the server that exist before recovery.
struct Front {
    http: http::Config,
    data: Vec<Listeners>,
    resp: Vec<Listeners>,
    /// Answers on them until the server serves.
    early: Option<resp::Early>,
    admin: (Admin, ListenAddress),
    certificates: Option<Certificates>,
    /// Sends spans.
    exporter: Option<Exporter>,
    /// Of the keys file.
    fingerprint: Option<Fingerprint>,
    /// The keys, for the admin listener until the engine has its secret.
    early_keys: Option<Table>,
}

fn serve(
    mut config: ServeConfig,
    stated: BTreeMap<String, String>,
    reload: Option<Reload>,
    process: Process,
) -> Result<(), ServeError> {
    let watch = Watch::start()?;
    let Some(watch) = with_secret(&mut config, watch)? else {
        return Ok(());
    };
    let config = &config;
    let mut front = Front::new(config)?;
    let (secret_origin, at) = (config.secret_origin(), SystemClock::new().wall());
    front.admin.0.configured(Started { config: stated, secret_origin, at });
    front.admin.0.starting(front.early_keys.take(), config.engine.data_dir.clone());
    let view = view_of(config);
    if let Some(view) = &view {
        front.admin.0.of_cluster(view.clone());
        view.have_keys(front.fingerprint.unwrap_or(Fingerprint::NO_KEYS));
    }
    let audit = front.http.audit.clone();
    let (running, watch) = open(config, view, front.admin.0.recovery(), watch, move |signal| {
        tracing::info!(signal, "stopped before the server was ready");
        process.leave_at_once(0)
    })?;
    process.keep(running.engine());
    // From here on the log and the audit trail are closed cleanly, whatever happens.
    let stopped = front.serve(config, reload, &running, watch);
    // The last checkpoint of the audit log shows the end of the log as it is then.
    let (closed, ended) = running.close();
    let stopped = stopped.and_then(|admin| Ok(admin.stop()?));
    if let Some(audit) = audit {
        audit.close();
    }
    stopped?;
    closed?;
    if let Some(ending) = ended {
        return Err(NodeError::Ended(ending).into());
    }
    tracing::info!("stopped");
    Ok(())
}

impl Front {
    fn new(config: &ServeConfig) -> Result<Self, ServeError> {
        let bind = |flag, address: &ListenAddress, count| {
            listen::bind(address, count).map_err(|source| ServeError::Bind {
                flag,
                address: address.clone(),
                source,
            })
        };
        if !config.huge_pages
            && let Err(error) = rustix::thread::disable_transparent_huge_pages(true)
        {
            tracing::warn!(%error, "can't disable huge pages: the system may use them");
        }
        let http = http::Config {
            max_connections: places(&config.http, config.resp.is_some()),
            ..config.http.clone()
        };
        let data = bind("--listen", &config.listen, config.http.workers)?;
        let resp = config.resp.as_ref();
        let resp = resp.map(|resp| bind("--resp-listen", &resp.address, config.http.workers));
        let resp: Vec<Listeners> = resp.transpose()?.unwrap_or_default();
        let admin = bind("--admin-listen", &config.admin_listen, 1)?;
        let [admin] =
            admin.try_into().map_err(|_| io::Error::other("one listener was asked for"))?;
        let admin_address = admin.address().clone();
        let early = data.first().map(Listeners::try_clone);
        let early = early.unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into()))?;
        // Checked before recovery, which can take seconds.
        let load = |file| keys::file::load_guarded(file, config.engine.permissions);
        let keys = config.keys.as_deref().map(load).transpose()?;
        let fingerprint = keys.as_deref().map(Fingerprint::of);
        let early_keys = keys.as_deref().map(early_table).transpose()?;
        // The name of the audit log is checked early too.
        let audit = config.audit.as_ref();
        let audit =
            audit.map(|audit| Audit::start(audit, Arc::new(SystemClock::new()))).transpose()?;
        let certificates = config.tls.as_ref().map(Certificates::open).transpose()?;
        let tls = certificates.as_ref().map(Certificates::tls);
        let web = config.http.web.clone();
        let is_guarded = config.keys.is_some();
        let guard = Guard { is_guarded, web, proxies: http.proxies.clone() };
        let admin = Admin::start(admin, early, guard, tls.clone(), http.limits)?;
        let early = match resp.is_empty() {
            true => None,
            false => {
                let waiting = resp.iter().map(Listeners::try_clone).collect::<io::Result<_>>()?;
                Some(resp::Early::start(waiting, http.proxies.clone(), tls.clone())?)
            }
        };
        let (tracer, exporter) = config.trace.as_ref().map(traces).transpose()?.unzip();
        let http = http::Config { tls, audit, tracer, ..http };
        let admin = (admin, admin_address);
        Ok(Self { http, data, resp, early, admin, certificates, exporter, fingerprint, early_keys })
    }

    /// Serves until a signal stops the server and the requests in flight are answered. The admin
    /// listener keeps running.
    fn serve(
        self,
        config: &ServeConfig,
        reload: Option<Reload>,
        running: &Running,
        watch: Watch,
    ) -> Result<Admin, ServeError> {
        let engine = running.engine();
        let audited = Audited::new(self.http.audit.clone(), engine)?;
        audited.tell("start", EventOutcome::Ok, format!("jeton {VERSION_AND_COMMIT}"));
        let Self { http, data, resp, early, admin, certificates, exporter, .. } = self;
        let (admin, admin_address) = admin;
        let opened = |file| Keys::open(file, engine.digester(), config.engine.permissions);
        let keys = config.keys.as_deref().map(opened).transpose()?;
        let quotas = Quotas::new(&config.quotas, engine, keys.as_ref());
        let reads = running.reads();
        let http = http::Config { keys: keys.clone(), quotas, reads, ..http };
        drop(early);
        let servers = Servers::start(engine, &http, data, config.resp.as_ref(), resp)?;
        admin.serving(engine.clone(), servers.gauges(), keys.clone());
        say_ready(&servers, config.tls.is_some(), &admin_address, engine);
        service_manager::ready();
        audited.ship();

        let keys = keys.map(|keys| FreshKeys::new(keys, engine, running.view()));
        let mut fresh =
            Fresh { audited: audited.clone(), configuration: reload, keys, certificates };
        let Watch { runtime, mut signals } = watch;
        let is_stopping = Arc::<AtomicBool>::default();
        runtime.spawn(vitals(engine, &servers, &is_stopping).watch());
        let signal = runtime.block_on(async {
            tokio::select! {
                signal = signals.stop(&mut fresh) => Some(signal),
                _ = running.ending() => None,
            }
        });
        service_manager::stopping(config.drain_delay);
        admin.draining();
        running.draining();
        let delay = config.drain_delay;
        if signal.is_some() && !delay.is_zero() {
            let delay_text = duration_text(delay);
            tracing::info!(signal, delay = delay_text, "draining: not ready, still serving");
            runtime.block_on(async {
                tokio::select! {
                    () = signals.linger(delay, &mut fresh) => {}
                    _ = running.ending() => {}
                }
            });
        }
        is_stopping.store(true, Ordering::Release);
        let signal = signal.unwrap_or("the cluster");
        tracing::info!(signal, "stopping: no new connections, finishing requests in flight");
        let drained = runtime.block_on(signals.drain(servers));
        audited.tell("stop", EventOutcome::Ok, signal.to_owned());
        if let Some(exporter) = exporter {
            exporter.stop();
        }
        drained?;
        Ok(admin)
    }
}

/// Starts to trace, with what the variables of OpenTelemetry say.
fn traces(config: &trace::Config) -> Result<(Tracer, Exporter), ServeError> {
    let (settings, unused) = trace::Settings::read(|name| std::env::var(name).ok());
    for sentence in unused {
        tracing::warn!("{sentence}");
    }
    let traces = Tracer::start(config, settings, Arc::new(SystemClock::new()))?;
    tracing::info!(collector = %config.endpoint, "sampled requests are sent as spans");
    Ok(traces)
}

/// The keys of these entries under a secret of its own: anyone who presents one of them is known, but
/// no token.
fn early_table(entries: &[KeyEntry]) -> io::Result<Table> {
    let secret = Secret::random().map_err(io::Error::other)?;
    Ok(Table::new(entries, &Digester::new(&secret, DEFAULT_NAMESPACE), &mut TagOwners::default()))
}

/// What must go on while the server serves.
fn vitals(
    engine: &Engine,
    servers: &Servers,
    is_stopping: &Arc<AtomicBool>,
) -> Vitals<impl Fn() -> u64 + use<>, impl Fn() -> Vec<u64> + use<>> {
    let (engine, gauges) = (engine.clone(), servers.gauges());
    Vitals {
        committer: move || engine.committer_turns(),
        workers: move || gauges.sweeps(),
        is_stopping: is_stopping.clone(),
    }
}
