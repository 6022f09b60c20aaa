#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "rpc/tls.h"
#include "services/backup/handlers/session_keys.h"
#include "services/backup/handlers/trash.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/open_storage.h"
#include "services/backup/retention/evaluation.h"
#include "storage/catalog/types.h"

namespace backup {

// What the flags of backup-service say (docs/operations.md).
struct Options {
  std::string data_dir;
  KeySources key_sources;
  CatalogOptions catalog;
  BlobsOptions blobs;
  std::string listen;
  std::string bound_port_file;  // Empty: none, as is:
  std::string operations_listen;
  std::string operations_bound_port_file;
  rpc::TlsFiles tls;
  std::string authz_policy_file;  // Empty: every caller may do everything.
  bool reflection = false;
  bool debug = false;
  bool encrypt = false;
  std::string at_rest;  // plain, sealed or client.
  storage::DuplicateNames duplicate_names = storage::DuplicateNames::kReject;
  handlers::KeyPolicy keys;
  handlers::UploadPolicy uploads;
  handlers::TrashPolicy trash;
  int64_t chunk_cache_bytes = 0;
  int64_t metrics_max_clients = 0;
  absl::Duration drain_timeout;
  absl::Duration idle_shutdown;  // Zero: never, as is:
  absl::Duration stream_idle_timeout;
  absl::Duration sweep_interval;
  absl::Duration compact_interval;
  absl::Duration audit_retention;  // Zero: for ever.
  absl::Duration purge_interval;   // Zero: never, as are those of repack, move and train.
  absl::Duration repack_interval;
  int64_t repack_rate = 0;  // Bytes a second; 0: no limit.
  absl::Duration retire_interval;
  absl::Duration move_interval;
  absl::Duration train_interval;
  absl::Duration retain_interval;
  int64_t retain_rate = 0;  // Versions a second; 0: no limit.
  retention::Options retention;
  absl::Duration scrub_period;  // Zero: only if told to.
  int64_t scrub_rate = 0;       // Bytes a second; 0: no limit.
  absl::Duration snapshot_interval;
  std::string snapshot_dir;  // Empty: none besides the store's own.
};

// Once the process has started.
Options OptionsFromFlags();

// What is wrong with the flags, as far as it can be told without starting.
absl::Status CheckFlags();

// The file that defines them (ProgramText::main_file).
const char* FlagsFile();

}  // namespace backup
