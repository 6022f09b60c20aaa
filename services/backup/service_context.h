#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "base/clock.h"
#include "base/idle_shutdown.h"
#include "base/stage_resources.h"
#include "content/store_keys.h"
#include "crypto/key_ring.h"
#include "glog/logging.h"
#include "rpc/drain_gate.h"
#include "rpc/stream_watchdog.h"
#include "services/backup/audit/audit_log.h"
#include "services/backup/audit/audit_queue.h"
#include "services/backup/authorization.h"
#include "services/backup/client_trace.h"
#include "services/backup/handlers/growth.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/scrub.h"
#include "services/backup/handlers/session_keys.h"
#include "services/backup/handlers/trash.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/retention/clock_watch.h"
#include "services/backup/retention/evaluation.h"
#include "services/backup/service_metrics.h"
#include "storage/blob_ledger.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/stock.h"
#include "storage/chunk_cache.h"

namespace backup {

// Everything that the services hand on to handlers; all of it outlives them.
struct ServiceContext {
  storage::Catalog& catalog;
  storage::BlobStore& blobs;
  storage::BlobLedger& ledger;
  storage::Stock<int64_t>& version_ids;
  const crypto::KeyRing& master_key;
  const content::StoreKeys& store_keys;
  content::Dictionaries& dictionaries;
  storage::ChunkCache& chunk_cache;
  const Clock& clock;
  StageResources& stages;
  IdleShutdown& idle;
  rpc::StreamWatchdog& watchdog;
  rpc::DrainGate& gate;

  // Through which stored content is read.
  handlers::StoredPlaces stored_places() const {
    return {catalog, blobs, master_key, store_keys, dictionaries, &chunk_cache};
  }

  // What uploads work on, and jobs that store content.
  handlers::UploadResources upload_resources() const {
    return {catalog,      blobs,       ledger, version_ids, master_key, store_keys,
            dictionaries, chunk_cache, clock,  stages,      uploads,    wake_sweep};
  }

  storage::DuplicateNames duplicate_names = storage::DuplicateNames::kReject;
  handlers::KeyPolicy keys = {};
  handlers::UploadPolicy uploads = {};
  handlers::ScrubPolicy scrub = {};
  handlers::TrashPolicy trash = {};
  ServiceMetrics metrics = {};
  // To be called after a change that may have dropped a blob; returns at once.
  std::function<void()> wake_sweep = [] {};
  // Null: whatever the time is, it is trusted.
  retention::ClockWatch* clock_watch = nullptr;
  retention::Options retention = {};
  // Before somebody deletes something: what must be kept for a while is kept if the time is not
  // trusted, which the catalog is to know (storage::ClockNote).
  void LookAtClock() const {
    const absl::Status noted = clock_watch == nullptr ? absl::OkStatus() : clock_watch->Check();
    LOG_IF(WARNING, !noted.ok()) << "cannot note what time it is: " << noted;
  }
  // The time if it is trusted, else the infinite past. Never waits.
  absl::Time RemovalTime() const {
    return clock_watch == nullptr ? clock.Now() : clock_watch->RemovalTime();
  }
  // To be called when somebody told the job scrub what to do; returns at once.
  std::function<void()> wake_scrub = [] {};
  // Takes a snapshot of the state, and waits for it.
  std::function<absl::StatusOr<v1::BackUpStateResponse>()> back_up_state = [] {
    return absl::UnimplementedError("there are no snapshots");
  };
  // The same after keys have changed, so that some copy of the catalog has them; nothing where
  // those are none of the service's business.
  std::function<absl::StatusOr<v1::BackUpStateResponse>()> back_up_keys = back_up_state;
  // What the data directory takes and what room is left. May wait for the disk.
  std::function<handlers::DiskUse()> look_at_disk = [] { return handlers::DiskUse(); };
  // Null if nobody asks for keys, as in tests.
  handlers::KeyKeeper* key_keeper = nullptr;
  // Whether there is the job retire, which is to be woken when there is something for it.
  bool retires_keys = false;
  std::function<void()> wake_retire = [] {};
  ClientTrace* trace = nullptr;  // Null if nobody can watch.
  // Null if nobody is told of in an audit log, as in tests; both or none.
  audit::AuditLog* audit_log = nullptr;
  audit::AuditQueue* audit_queue = nullptr;
  Authorization* authorization = nullptr;  // Null if every caller may do everything.
  // Only this machine can call: then whoever does may stand for old clients.
  bool callers_are_local = true;
};

}  // namespace backup
