// backup-service: flags to options, wiring, run until told to stop.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/config.h"
#include "base/exit_code.h"
#include "base/inherited_state.h"
#include "base/io_engine.h"
#include "base/log_writer.h"
#include "base/metrics.h"
#include "base/operations_endpoint.h"
#include "base/process.h"
#include "base/service_manager.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "rpc/acceptor.h"
#include "rpc/grpc_log.h"
#include "rpc/parked_thread.h"
#include "rpc/versions.h"
#include "services/backup/flags.h"
#include "services/backup/open_storage.h"
#include "services/backup/probes.h"
#include "services/backup/running_service.h"

namespace backup {
namespace {

// backupctl's: where it finds the service.
constexpr char kForeignVariable[] = "BACKUP_SERVICE";

void AddMetricsOfTheProcess(Metrics& metrics, const Process& process) {
  Labels libraries = rpc::LibraryVersions();
  libraries.merge(CatalogLibraryVersion());
  AddProcessMetrics(metrics, libraries, ConfigurationText(process.settings));
  AddLogMetrics(metrics, process.log);
}

// Tells where it listens, for those who gave port 0.
absl::Status WritePortFiles(const Options& options, const RunningService& service,
                            OperationsEndpoint* endpoint) {
  RETURN_IF_ERROR(WriteOperationsPort(options.operations_bound_port_file, endpoint));
  if (options.bound_port_file.empty()) return absl::OkStatus();
  const std::string port =
      service.bound_port() == 0 ? service.bound_address() : absl::StrCat(service.bound_port());
  return WriteFileAtomically(options.bound_port_file, absl::StrCat(port, "\n"));
}

void Announce(const Options& options, const RunningService& service) {
  const std::string& catalog = service.catalog_place();
  LOG(INFO) << "serving on " << service.bound_address() << ", data in " << options.data_dir
            << (catalog.empty() ? "" : absl::StrCat(", catalog in ", catalog)) << ", at rest "
            << options.at_rest << ", disk by " << IoEngine::Default().name();
  if (options.uploads.corrupt_checksums)
    LOG(WARNING) << "checksums are falsified on purpose: no client will verify a file";
  service.WarnIfNothingIsRemoved();
  LogDroppedVariables();
  TellServiceManager("READY=1");
}

// Until it is told to stop; returns the exit code.
absl::StatusOr<int> Serve(const Options& options, const Process& process, StopRequest& stop) {
  Metrics metrics;
  AddMetricsOfTheProcess(metrics, process);
  const MetricFamily<Gauge> modes =
      AddModes(metrics, {{"debug", options.debug},
                         {"encrypt", options.encrypt},
                         {"corrupt_checksums", options.uploads.corrupt_checksums},
                         {"draining", false}});
  ASSIGN_OR_RETURN(const std::unique_ptr<RunningService> service,
                   RunningService::Open(options, metrics, stop));
  // Before anybody is served: a port in use stops the start with nothing half-started.
  ASSIGN_OR_RETURN(std::unique_ptr<OperationsEndpoint> endpoint,
                   OpenOperations(options.operations_listen));
  ASSIGN_OR_RETURN(std::unique_ptr<rpc::Acceptor> acceptor, rpc::Acceptor::Listen(options.listen));
  RETURN_IF_ERROR(service->Start(std::move(acceptor)));
  RETURN_IF_ERROR(WritePortFiles(options, *service, endpoint.get()));
  const std::shared_ptr<grpc::Channel> to_itself = service->MakeChannelToItself();
  const rpc::ParkedThread parked(to_itself);
  std::vector<Probe> probes =
      ServiceProbes(service->catalog(), service->reserve(), options.data_dir, to_itself);
  probes.push_back(LogProbe(process.log));
  const Operations operations = StartOperations(
      std::move(endpoint), std::move(probes), [&] { return service->is_idle(); }, metrics);
  const ReloadRequest::Handler reload(process.reload, [&] { service->Reload(); });
  service->NoteStarted();
  Announce(options, *service);
  const std::string why = stop.Wait();  // First: a log line has the time of its beginning.
  LOG(INFO) << "stopping: " << why;
  modes.With({"draining"}).Set(1);
  operations.SetDraining();
  TellServiceManager("STOPPING=1");
  service->Drain();
  LOG(INFO) << "stopped";
  return service->exit_code();
}

int Main(int argc, char** argv) {
  StopRequest& stop =
      *new StopRequest;  // Lives as long as the signal thread, that is, the process.
  const Process process =
      StartProcess({"backup-service --data_dir=DIR [--listen=HOST:PORT|unix:PATH] ...",
                    FlagsFile(),
                    {kForeignVariable}},
                   argc, argv, stop);
  rpc::SendGrpcLogToGlog();
  const Options options = OptionsFromFlags();
  if (options.debug) SetDebugLogging();
  if (options.encrypt && !options.debug) SetQuietLogging();
  const absl::Status checked = argc > 1 ? UnknownArgument(argv[1]) : CheckFlags();
  if (CheckConfigurationOnly()) return checked.ok() ? 0 : Refuse(checked);
  const absl::StatusOr<int> served =
      checked.ok() ? Serve(options, process, stop) : absl::StatusOr<int>(checked);
  return LeaveNoPortFiles(served.ok() ? *served : Refuse(served.status()),
                          {options.bound_port_file, options.operations_bound_port_file});
}

}  // namespace
}  // namespace backup

int main(int argc, char** argv) { return backup::Main(argc, argv); }
