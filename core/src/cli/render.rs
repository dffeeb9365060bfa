//! `evbus render`: renders an SLS file and fires the events of its template.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use evbus::acct::MAX_FILE_BYTES;
use evbus::{Event, sls};
use evbus_files::named_file::{NotRead, read_given};
use evbus_report::counted;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::exit::{Exit, note};
use super::output::write;
use super::target::{Require, TargetOptions};

/// Render an SLS file and fire the events of its template
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evbus render --sock-dir /run/evbus web.sls
  evbus render --acct-file acct.yml web.sls > web.rendered.sls

A template fires an event with {%- hub.idem.event.put_nowait(body={\"message\": \"event content\"}, \
profile=\"default\", tags={}) %}, also in the forms `do`, `set` and `{{ }}`. The rendered text is written to \
standard output.

Exit codes: 0 success; 1 the template has a fault or an event was not delivered (earlier events stay \
fired); 2 wrong usage; 70 a plugin called exit; 78 invalid configuration.")]
pub(super) struct RenderArgs {
    /// SLS file
    #[arg(value_name = "FILE.sls")]
    file: PathBuf,
    /// Run name in the envelopes
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    run_name: String,
    #[command(flatten)]
    target: TargetOptions,
}

pub(super) async fn run(args: RenderArgs) -> Result<(), Exit> {
    let text = read(&args)?;
    let way = args.target.way()?;
    let target = way.open().await?;
    let target = Arc::new(Mutex::new(Some(target)));
    let fired = Arc::new(AtomicU64::new(0));
    let rendered = {
        let (target, fired, runtime) = (Arc::clone(&target), Arc::clone(&fired), Handle::current());
        let fire = move |event: Event, firing: sls::Firing| -> Result<(), String> {
            let put = async {
                match target.lock().await.as_mut() {
                    Some(target) => target.fire(event, firing).await.map_err(|exit| exit.text()),
                    None => Err("the template has ended".to_owned()),
                }
            };
            runtime.block_on(put)?;
            fired.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        // Rendering waits in its calls, which a thread of the runtime must not do.
        let (path, run_name) = (args.file.clone(), args.run_name.clone());
        tokio::task::spawn_blocking(move || sls::render(&text, &path, &run_name, fire)).await
    };
    let fired = fired.load(Ordering::Relaxed);
    if let Some(target) = target.lock().await.take() {
        target.finish(Require::Nothing).await?;
    }
    match rendered {
        Ok(Ok(rendered)) => write(rendered.as_bytes()).map(|_| ()),
        Ok(Err(fault)) => {
            let before = match fired {
                0 => "no event was fired before the fault".to_owned(),
                fired => counted(
                    fired,
                    "event was fired before the fault",
                    "events were fired before the fault",
                ),
            };
            note(&before);
            Err(Exit::failed(fault.to_string()))
        }
        Err(error) => Err(Exit::failed(format!("rendering failed: {error}"))),
    }
}

fn read(args: &RenderArgs) -> Result<String, Exit> {
    let name = args.file.display();
    let fault = |reason: String| Exit::failed(format!("{name}: {reason}"));
    let mut content = Vec::new();
    read_given(&args.file, MAX_FILE_BYTES, &mut content).map_err(|error| {
        fault(match error {
            NotRead::TooLarge => format!(
                "the file is larger than {MAX_FILE_BYTES} bytes; check that it is an SLS file"
            ),
            NotRead::Is(kind) => format!("found {kind}, expected an SLS file; check the name"),
            error => format!("cannot read the SLS file: {error}"),
        })
    })?;
    String::from_utf8(content).map_err(|error| {
        fault(format!(
            "the file is not UTF-8 ({error}); expected an SLS file"
        ))
    })
}
