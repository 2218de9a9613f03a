//! dev
mod in_process;
mod load;
use lastunit::Strategy;
/// dev
#[derive(clap::Args)]
pub struct Args {}
pub async fn run(_: Args) -> anyhow::Result<std::process::ExitCode> {
    for (name, strategy, workload) in [
        ("batched hot", Strategy::Batched, in_process::Workload { skus: 1, lines: 1 }),
        ("batched 3/1000", Strategy::Batched, in_process::Workload { skus: 1000, lines: 3 }),
    ] {
        let m = in_process::run(std::path::Path::new("."), strategy, 64, workload, 3.0).await?;
        println!(
            "{name}: {:.0}/s p50 {:.2} p99 {:.2} max {:.2}",
            m.per_second(),
            m.percentile_ms(50.0),
            m.percentile_ms(99.0),
            m.percentile_ms(100.0)
        );
    }
    Ok(std::process::ExitCode::SUCCESS)
}
