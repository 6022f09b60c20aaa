#include "services/backup/flags.h"

#include <unistd.h>

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/config.h"
#include "base/flag_validators.h"
#include "base/production.h"
#include "base/status_macros.h"
#include "gflags/gflags.h"
#include "rpc/acceptor.h"
#include "services/backup/authorization.h"
#include "services/backup/limits.h"

DEFINE_string(data_dir, "", "folder that holds all state (required); one process at a time");
DEFINE_string(catalog, "",
              "the PostgreSQL database that the catalog is in, as libpq is told of it: "
              "postgres://HOST/DATABASE, or host=HOST dbname=DATABASE and the like; without a "
              "password, which passfile=FILE or a service file tells; empty: where it is already, "
              "else a file in the data directory");
DEFINE_string(blobs, "",
              "where large content is kept: s3://BUCKET or s3://BUCKET/PREFIX of an object store; "
              "empty: where it is already, else in the data directory");
DEFINE_string(s3_endpoint, "",
              "the object store, https://HOST[:PORT] or http://HOST[:PORT]; empty: as it was, else "
              "that of AWS in --s3_region");
DEFINE_string(s3_region, "",
              "region of the object store; most take any; empty: as it was, else us-east-1");
DEFINE_string(s3_addressing, "",
              "how the object store's bucket is named: path (HOST/BUCKET) or virtual "
              "(BUCKET.HOST); empty: as it was, else path");
DEFINE_string(s3_credentials_file, "",
              "file with the object store's access key, as the AWS tools have it; empty: from "
              "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the systemd credential s3, or "
              "~/.aws/credentials");
DEFINE_string(s3_ca_file, "",
              "CA of the object store's certificate, PEM; empty: whom the system trusts");
DEFINE_int64(s3_upload_memory_bytes, 512 << 20,
             "memory for what is on its way to the object store, at least 32 MiB: an upload takes "
             "one MiB, and up to 80 while there is that much");
DEFINE_int64(s3_read_memory_bytes, 256 << 20,
             "memory for what is read ahead of the object store's blobs, at least 8 MiB");
DEFINE_string(
    listen, "127.0.0.1:50051",
    "HOST:PORT or unix:PATH to serve gRPC on; port 0 means any free one, host * every address, "
    "IPv6 and IPv4");
DEFINE_string(bound_port_file, "",
              "file to write the bound port to (for a unix socket, its address)");
DEFINE_string(
    operations_listen, "",
    "ADDRESS:PORT of /livez, /readyz, /drainz, /metrics, for example 127.0.0.1:9101; empty: "
    "none");
DEFINE_string(operations_bound_port_file, "", "file to write the bound port of those to");
DEFINE_int64(metrics_max_clients, 10'000, "clients that have metrics of their own");
DEFINE_bool(insecure_grpc, false, "allow --listen beyond loopback without TLS");
DEFINE_bool(production, false,
            "refuse to start with what is not fit for production: --debug, plaintext or reflection "
            "beyond this machine, keys that others can read, the master key in --data_dir");
DEFINE_bool(allow_master_key_beside_data, false,
            "with --production, allow the master key in --data_dir");
DEFINE_string(tls_cert_file, "", "certificate of the service, PEM; with it gRPC is over TLS");
DEFINE_string(tls_key_file, "", "private key of that, readable by its owner only");
DEFINE_string(tls_client_ca_file, "",
              "CA of the callers' certificates; with it every caller needs one");
DEFINE_string(authz_policy_file, "",
              "which certificate's name may call what, JSON; needed with --tls_client_ca_file");
DEFINE_string(grpc_reflection, "auto",
              "server reflection: on, off, or auto (on while --listen is local)");
DEFINE_bool(debug, false,
            "log everything, answer wrong checksums, never close or end what is idle");
DEFINE_bool(encrypt, false, "store files encrypted and log only ERROR and CRITICAL lines");
DEFINE_string(
    at_rest, "auto",
    "how new files are kept: plain, sealed, client, or auto (sealed with --encrypt, else plain)");
DEFINE_string(master_key_file, "",
              "file of the master key, made if missing; empty means DATA_DIR/master.key");
DEFINE_string(master_key_credential, "",
              "name of the master key among systemd's credentials (LoadCredential=), instead of a "
              "file");
DEFINE_string(master_key_command, "",
              "program and arguments, split at spaces, no shell, that says the master key within "
              "30s, instead of a file");
DEFINE_string(
    old_master_key_file, "",
    "files, with commas between, of master keys that are still accepted for reading until "
    "`backupctl key rewrap` has replaced them");
DEFINE_string(key_generations_file, "",
              "file of the keys that the master key wraps, kept besides the catalog; empty means "
              "DATA_DIR/key.generations");
DEFINE_string(corrupt_checksums, "auto",
              "answer wrong checksums on purpose: true, false, or auto (with --debug)");
DEFINE_string(idle_shutdown, "240s",
              "end after so long without a connection or call; 0s turns it off");
DEFINE_string(duplicate_names, "reject",
              "what to do with a client name that is taken: reject or allow");
DEFINE_string(rekey, "pin",
              "what to do with a second, different public key of a client: pin (refuse) or allow");
DEFINE_string(
    unknown_key, "refuse",
    "what to do with a public key under an id and a name that are both unknown: refuse, or "
    "adopt (take the client in)");
DEFINE_bool(rotate_session_keys, false, "make a new session key at each reconnect");
DEFINE_int64(inline_blob_limit, 64 << 10,
             "files of at most so many stored bytes live in the catalog");
DEFINE_string(compression, "auto",
              "how new content is compressed: auto (as it comes if that keeps nobody waiting, else "
              "later), off, or always at a level of zstd, 1 to 19");
DEFINE_string(share, "store",
              "among whose files the same content is kept once: store (all), or client (each "
              "client's own)");
DEFINE_int64(chunk_cache_bytes, 64 << 20,
             "memory for what is known of the content that is kept; 0: none");
DEFINE_string(drain_timeout, "30s", "how long calls in flight may go on after SIGTERM");
DEFINE_string(stream_idle_timeout, "60s",
              "end an upload or download whose peer moves nothing for so long; 0s turns it off");
DEFINE_string(sweep_interval, "1h", "how often blobs that no version needs are looked for");
DEFINE_string(trash_retention, "168h",
              "how long what is deleted can be taken back from the trash; 0s: it is gone for good "
              "at once");
DEFINE_string(audit_retention, "9600h", "how long entries of the audit log are kept; 0s: for ever");
DEFINE_string(purge_interval, "1h",
              "how often it is looked for what was in the trash for that long, to remove it; 0s "
              "turns that off");
DEFINE_bool(rebuild_catalog, false,
            "rewrite a catalog of an older version at the start, whatever its size, so that it can "
            "give room back");
DEFINE_string(compact_interval, "1h",
              "how often room that the catalog does not use is given back to the file system");
DEFINE_string(repack_interval, "1h",
              "how often packs are looked for that hold much which nothing needs any more, that "
              "are small, or that are to be compressed; 0s turns rewriting them off");
DEFINE_int64(repack_rate, 64 << 20,
             "bytes a second that rewriting packs and moving old files read and write together, at "
             "most; 0: no limit");
DEFINE_string(retire_interval, "1m",
              "how often it is looked whether a generation of keys is to be retired, and what is "
              "left of that (backupctl key retire); 0s turns that off");
DEFINE_string(move_interval, "1h",
              "how often files are looked for that an older version stored whole, to keep their "
              "content once; 0s turns that off");
DEFINE_string(snapshot_interval, "1h",
              "how often a snapshot of the state is taken, if it changed; 0s turns that off");
DEFINE_string(
    snapshot_dir, "",
    "folder of this service alone, best on another disk, that gets each snapshot besides; "
    "empty: none");
DEFINE_string(
    train_interval, "1h",
    "how often it is tried whether small files become smaller with a new dictionary, made "
    "of what they have in common; 0s turns that off");
DEFINE_string(
    retain_interval, "1h",
    "how often versions are looked for that no policy keeps, or that nobody confirmed; 0s "
    "turns that off");
DEFINE_int64(retain_rate, 100'000,
             "versions a second that are looked at for that, at most; 0: no limit");
DEFINE_string(min_retention, "0s",
              "how long nobody can remove a version that comes from now on, whoever asks");
DEFINE_string(
    unconfirmed_ttl, "168h",
    "how long a version is kept that its client did not confirm, or gave up; 0s: for ever");
DEFINE_string(
    timezone, "UTC",
    "where hours, days, weeks, months and years of policies begin, such as Europe/Berlin");
DEFINE_string(scrub_period, "720h",
              "within which time everything that is stored is read and compared once, what was "
              "read longest ago first; 0s: only when told to (backupctl scrub start)");
DEFINE_int64(scrub_rate, 32 << 20, "bytes a second that are read for that, at most; 0: no limit");

namespace backup {
namespace {

bool ValidateReflection(const char*, const std::string& value) {
  return IsOneOf(value, {"auto", "on", "off"});
}
bool ValidateAtRest(const char*, const std::string& value) {
  return IsOneOf(value, {"auto", "plain", "sealed", "client"});
}
bool ValidateDuplicateNames(const char*, const std::string& value) {
  return IsOneOf(value, {"reject", "allow"});
}
bool ValidateRekey(const char*, const std::string& value) {
  return IsOneOf(value, {"pin", "allow"});
}
bool ValidateUnknownKey(const char*, const std::string& value) {
  return IsOneOf(value, {"refuse", "adopt"});
}
bool ValidateCompression(const char*, const std::string& value) {
  return content::ParseCompression(value).has_value() || MustBe("auto, off or 1 to 19");
}
bool ValidateShare(const char*, const std::string& value) {
  return IsOneOf(value, {"store", "client"});
}
bool ValidateInlineLimit(const char*, int64_t value) {
  return (value >= 0 && value <= kMaxInlineBlobLimit) ||
         MustBe(absl::StrCat("0 to ", kMaxInlineBlobLimit));
}

bool ValidateTimezone(const char*, const std::string& value) {
  absl::TimeZone zone;
  return (!value.empty() && absl::LoadTimeZone(value, &zone)) ||
         MustBe(
             "a time zone that this machine knows, such as UTC or Europe/Berlin (Debian: package "
             "tzdata)");
}

DEFINE_validator(idle_shutdown, &ValidateDuration);
DEFINE_validator(drain_timeout, &ValidateDuration);
DEFINE_validator(stream_idle_timeout, &ValidateDuration);
DEFINE_validator(sweep_interval, &ValidateDuration);
DEFINE_validator(trash_retention, &ValidateDuration);
DEFINE_validator(audit_retention, &ValidateDuration);
DEFINE_validator(purge_interval, &ValidateDuration);
DEFINE_validator(compact_interval, &ValidateDuration);
DEFINE_validator(repack_interval, &ValidateDuration);
DEFINE_validator(repack_rate, &ValidateNotNegative);
DEFINE_validator(retire_interval, &ValidateDuration);
DEFINE_validator(move_interval, &ValidateDuration);
DEFINE_validator(snapshot_interval, &ValidateDuration);
DEFINE_validator(train_interval, &ValidateDuration);
DEFINE_validator(retain_interval, &ValidateDuration);
DEFINE_validator(retain_rate, &ValidateNotNegative);
DEFINE_validator(min_retention, &ValidateDuration);
DEFINE_validator(unconfirmed_ttl, &ValidateDuration);
DEFINE_validator(timezone, &ValidateTimezone);
DEFINE_validator(scrub_period, &ValidateDuration);
DEFINE_validator(scrub_rate, &ValidateNotNegative);
DEFINE_validator(corrupt_checksums, &ValidateTristate);
DEFINE_validator(grpc_reflection, &ValidateReflection);
DEFINE_validator(at_rest, &ValidateAtRest);
DEFINE_validator(duplicate_names, &ValidateDuplicateNames);
DEFINE_validator(rekey, &ValidateRekey);
DEFINE_validator(unknown_key, &ValidateUnknownKey);
DEFINE_validator(metrics_max_clients, &ValidateNotNegative);
DEFINE_validator(inline_blob_limit, &ValidateInlineLimit);
DEFINE_validator(compression, &ValidateCompression);
DEFINE_validator(share, &ValidateShare);
DEFINE_validator(chunk_cache_bytes, &ValidateNotNegative);

std::string AtRest() {
  if (FLAGS_at_rest != "auto") return FLAGS_at_rest;
  return FLAGS_encrypt ? "sealed" : "plain";
}

storage::StorageForm FormOf(const std::string& at_rest) {
  if (at_rest == "sealed") return storage::StorageForm::kSealed;
  if (at_rest == "client") return storage::StorageForm::kClientCiphertext;
  return storage::StorageForm::kPlain;
}

rpc::TlsFiles TlsFromFlags() {
  return {FLAGS_tls_cert_file, FLAGS_tls_key_file, FLAGS_tls_client_ca_file};
}

CatalogOptions CatalogFromFlags() {
  return {.conninfo = FLAGS_catalog, .rebuild = FLAGS_rebuild_catalog};
}

BlobsOptions BlobsFromFlags() {
  return {.url = FLAGS_blobs,
          .endpoint = FLAGS_s3_endpoint,
          .region = FLAGS_s3_region,
          .addressing = FLAGS_s3_addressing,
          .credentials_file = FLAGS_s3_credentials_file,
          .ca_file = FLAGS_s3_ca_file,
          .max_upload_bytes = FLAGS_s3_upload_memory_bytes,
          .max_read_ahead_bytes = FLAGS_s3_read_memory_bytes};
}

handlers::UploadPolicy UploadPolicyFromFlags() {
  handlers::UploadPolicy policy;
  policy.form = FormOf(AtRest());
  policy.inline_blob_limit = FLAGS_inline_blob_limit;
  policy.min_retention = DurationFlag(FLAGS_min_retention);
  policy.compression = *content::ParseCompression(FLAGS_compression);
  if (FLAGS_share == "client") policy.sharing = handlers::Sharing::kClient;
  policy.corrupt_checksums = TristateFlag(FLAGS_corrupt_checksums, FLAGS_debug);
  return policy;
}

KeySources KeySourcesFromFlags() {
  KeySources keys;
  keys.master_key_file = FLAGS_master_key_file;
  keys.credential = FLAGS_master_key_credential;
  keys.command = CommandWords(FLAGS_master_key_command);
  keys.old_master_key_files = absl::StrSplit(FLAGS_old_master_key_file, ',', absl::SkipEmpty());
  keys.generations_file = FLAGS_key_generations_file;
  return keys;
}

absl::Status CheckKeySources() {
  const int sources = (FLAGS_master_key_file.empty() ? 0 : 1) +
                      (FLAGS_master_key_credential.empty() ? 0 : 1) +
                      (FLAGS_master_key_command.empty() ? 0 : 1);
  if (sources > 1) {
    return absl::InvalidArgumentError(
        "there is one master key: give only one of --master_key_file, --master_key_credential and "
        "--master_key_command");
  }
  if (absl::StrContains(FLAGS_master_key_credential, '/'))
    return absl::InvalidArgumentError("--master_key_credential is a name, without slashes");
  const KeySources keys = KeySourcesFromFlags();
  if (!FLAGS_master_key_command.empty() && keys.command.empty())
    return absl::InvalidArgumentError("--master_key_command names no program");
  for (const std::string& path : keys.old_master_key_files) {
    if (path == FLAGS_master_key_file) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--old_master_key_file=", path, " is the master key itself (--master_key_file)"));
    }
  }
  return absl::OkStatus();
}

std::string MasterKeyFile() {
  if (!FLAGS_master_key_file.empty()) return FLAGS_master_key_file;
  return absl::StrCat(FLAGS_data_dir, "/", kMasterKeyName);
}

std::vector<SecretFile> FindSecretFiles() {
  std::vector<SecretFile> files;
  const auto add = [&](const char* flag, const std::string& path) {
    if (!path.empty()) files.push_back(FindSecretFile(flag, path));
  };
  add("--tls_key_file", FLAGS_tls_key_file);
  if (!FLAGS_master_key_credential.empty()) {
    // That there is none tells whoever reads it.
    if (const char* const folder = std::getenv("CREDENTIALS_DIRECTORY"))
      add("--master_key_credential", absl::StrCat(folder, "/", FLAGS_master_key_credential));
  } else if (FLAGS_master_key_command.empty()) {
    add("--master_key_file", MasterKeyFile());
  }
  for (const std::string& path : KeySourcesFromFlags().old_master_key_files)
    add("--old_master_key_file", path);
  add("--s3_credentials_file", FindCredentialsFile(FLAGS_data_dir, BlobsFromFlags()));
  return files;
}

bool IsMasterKeyBesideData() {
  return FLAGS_master_key_credential.empty() && FLAGS_master_key_command.empty() &&
         IsInFolder(MasterKeyFile(), FLAGS_data_dir);
}

bool HasReflection() {
  return FLAGS_grpc_reflection == "auto" ? rpc::IsLocalAddress(FLAGS_listen)
                                         : FLAGS_grpc_reflection == "on";
}

absl::Status CheckForProduction() {
  if (!FLAGS_production) return absl::OkStatus();
  return CheckProduction({.debug = FLAGS_debug,
                          .corrupt_checksums = FLAGS_corrupt_checksums == "true",
                          .insecure_grpc = FLAGS_insecure_grpc,
                          .address = absl::StrCat("--listen=", FLAGS_listen),
                          .address_is_local = rpc::IsLocalAddress(FLAGS_listen),
                          .has_tls = !FLAGS_tls_cert_file.empty(),
                          .tls_flag = "--tls_cert_file",
                          .reflection = HasReflection(),
                          .master_key_is_beside_data = IsMasterKeyBesideData(),
                          .allow_master_key_beside_data = FLAGS_allow_master_key_beside_data,
                          .secrets = FindSecretFiles(),
                          .user = ::geteuid()});
}

}  // namespace

const char* FlagsFile() { return __FILE__; }

Options OptionsFromFlags() {
  Options options;
  options.data_dir = FLAGS_data_dir;
  options.key_sources = KeySourcesFromFlags();
  options.catalog = CatalogFromFlags();
  options.blobs = BlobsFromFlags();
  options.listen = FLAGS_listen;
  options.bound_port_file = FLAGS_bound_port_file;
  options.operations_listen = FLAGS_operations_listen;
  options.operations_bound_port_file = FLAGS_operations_bound_port_file;
  options.tls = TlsFromFlags();
  options.authz_policy_file = FLAGS_authz_policy_file;
  options.reflection = HasReflection();
  options.debug = FLAGS_debug;
  options.encrypt = FLAGS_encrypt;
  options.at_rest = AtRest();
  if (FLAGS_duplicate_names == "allow") options.duplicate_names = storage::DuplicateNames::kAllow;
  if (FLAGS_rekey == "allow") options.keys.rekey = storage::Rekey::kAllow;
  if (FLAGS_unknown_key == "adopt") options.keys.unknown_key = handlers::UnknownKey::kAdopt;
  options.keys.rotate_session_keys = FLAGS_rotate_session_keys;
  options.uploads = UploadPolicyFromFlags();
  options.chunk_cache_bytes = FLAGS_chunk_cache_bytes;
  options.metrics_max_clients = FLAGS_metrics_max_clients;
  options.drain_timeout = DurationFlag(FLAGS_drain_timeout);
  if (!FLAGS_debug) options.idle_shutdown = DurationFlag(FLAGS_idle_shutdown);
  if (!FLAGS_debug) options.stream_idle_timeout = DurationFlag(FLAGS_stream_idle_timeout);
  options.sweep_interval = std::max(DurationFlag(FLAGS_sweep_interval), absl::Seconds(1));
  options.trash.retention = DurationFlag(FLAGS_trash_retention);
  options.audit_retention = DurationFlag(FLAGS_audit_retention);
  options.purge_interval = DurationFlag(FLAGS_purge_interval);
  options.compact_interval = std::max(DurationFlag(FLAGS_compact_interval), absl::Seconds(1));
  options.repack_interval = DurationFlag(FLAGS_repack_interval);
  options.repack_rate = FLAGS_repack_rate;
  options.retire_interval = DurationFlag(FLAGS_retire_interval);
  options.move_interval = DurationFlag(FLAGS_move_interval);
  options.snapshot_interval = DurationFlag(FLAGS_snapshot_interval);
  options.snapshot_dir = FLAGS_snapshot_dir;
  options.train_interval = DurationFlag(FLAGS_train_interval);
  options.retain_interval = DurationFlag(FLAGS_retain_interval);
  options.retain_rate = FLAGS_retain_rate;
  absl::LoadTimeZone(FLAGS_timezone, &options.retention.timezone);
  options.retention.unconfirmed_ttl = DurationFlag(FLAGS_unconfirmed_ttl);
  options.scrub_period = DurationFlag(FLAGS_scrub_period);
  options.scrub_rate = FLAGS_scrub_rate;
  return options;
}

absl::Status CheckFlags() {
  if (FLAGS_data_dir.empty())
    return UsageError("--data_dir=DIR must say where to keep the data (--help tells more)");
  RETURN_IF_ERROR(CheckKeySources());
  if (const absl::Status catalog = CheckCatalogOptions(CatalogFromFlags()); !catalog.ok())
    return absl::InvalidArgumentError(absl::StrCat("--catalog: ", catalog.message()));
  if (const absl::Status blobs = CheckBlobsOptions(BlobsFromFlags()); !blobs.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--blobs=", FLAGS_blobs, " and --s3_...: ", blobs.message()));
  }
  if (const absl::Status listen = rpc::CheckAddress(FLAGS_listen); !listen.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen=", listen.message(), " (HOST:PORT or unix:PATH)"));
  }
  RETURN_IF_ERROR(CheckForProduction());
  RETURN_IF_ERROR(rpc::CheckTlsFiles(TlsFromFlags()));
  if (!FLAGS_tls_client_ca_file.empty() && FLAGS_tls_cert_file.empty())
    return absl::InvalidArgumentError("--tls_client_ca_file needs --tls_cert_file");
  if (FLAGS_tls_client_ca_file.empty() != FLAGS_authz_policy_file.empty()) {
    return absl::InvalidArgumentError(
        "--tls_client_ca_file says who may connect and --authz_policy_file what each may do: give "
        "both");
  }
  if (!FLAGS_authz_policy_file.empty())
    RETURN_IF_ERROR(Authorization::Open(FLAGS_authz_policy_file).status());
  if (!rpc::IsLocalAddress(FLAGS_listen) && !FLAGS_insecure_grpc && FLAGS_tls_cert_file.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--listen=", FLAGS_listen,
        " is reachable from outside without TLS: give "
        "--tls_cert_file, listen on 127.0.0.1 or unix:PATH, or allow it with --insecure_grpc"));
  }
  return absl::OkStatus();
}

}  // namespace backup
