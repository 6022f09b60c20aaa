#include "tests/bench/large_catalog.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <random>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/substitute.h"
#include "backup/v1/admin.grpc.pb.h"
#include "backup/v1/catalog.grpc.pb.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "rpc/deadline.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "tests/bench/filled_catalog.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

constexpr int kCalls = 100;
constexpr int kLookups = 1000;
constexpr int kKnownVersions = 50;
constexpr int64_t kMebibyte = 1 << 20;
constexpr int kPageSize = 1000;
constexpr absl::Duration kDeadline = absl::Seconds(10);

// 1000 clients with 1000 files each, but with fewer versions than that only as many clients as
// there are versions for; the versions go round the files, and one file has 2000 more.
// $0: versions, $1: clients, $2 and $3: a column of versions and its value.
constexpr char kFill[] = R"(
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1)
  INSERT INTO clients (client_id, name, create_time, last_seen_time, public_key, sealed_session_key,
                       session_key_bits, last_verified_time)
  SELECT CAST(printf('client %09d', i) AS BLOB), CAST(printf('client %d', i) AS BLOB), 1, 1, x'', x'', 0, 1 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1 * 1000)
  INSERT INTO files (file_id, client_id, name, version_count)
  SELECT i + 1, CAST(printf('client %09d', i / 1000) AS BLOB), CAST(printf('file %04d', i % 1000) AS BLOB),
         $0 / ($1 * 1000) + (i = 0) * 2000 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $0 + 2000)
  INSERT INTO versions (version_id, file_id, size_bytes, encoded_size, checksum_kind, checksum, sha256, state,
                        receive_time, verify_time, form $2)
  SELECT i + 1, CASE WHEN i < $0 THEN i % ($1 * 1000) + 1 ELSE 1 END, 1000, 1008, 1, i, randomblob(32), 2, i, i, 1 $3 FROM n;
UPDATE totals SET clients = $1, files = $1 * 1000, versions = $0 + 2000, verified_versions = $0 + 2000,
                  stored_bytes = ($0 + 2000) * 1000, next_version_id = $0 + 2001;
)";

// Chunks of 1 MiB in packs of 64, and recipes of ten of them.
// Ids are in order, so that the index of the ids can be filled quickly. $0: chunks.
constexpr char kFillChunks[] = R"(
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $0 / 64 + 1)
  INSERT INTO packs (pack_id, blob_id, size_bytes, form, live_bytes, wrapped_key)
  SELECT i + 1, randomblob(16), 64 << 20, 1, 64 << 20, x'' FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $0)
  INSERT INTO chunks (chunk_no, chunk_id, size_bytes, refs, stored_size, form, coding, pack_id, place, pack_offset)
  SELECT i + 1, CAST(printf('%012d%020d', i, i) AS BLOB), 1 << 20, 1, 1 << 20, 1, 1, i / 64 + 1, i % 64,
         (i % 64) << 20 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $0 / 10)
  INSERT INTO recipes SELECT i + 1, 10 << 20, 10 << 20 FROM n;
INSERT INTO recipe_parts SELECT recipe_id, 0, randomblob(70) FROM recipes;
UPDATE totals SET chunks = $0, unique_bytes = $0 << 20, compressed_bytes = $0 << 20, packs = $0 / 64 + 1,
                  pack_bytes = $0 << 20, pack_live_bytes = $0 << 20;
)";

constexpr char kCountClients[] = R"(
UPDATE clients SET
  file_count = (SELECT count(*) FROM files WHERE files.client_id = clients.client_id),
  (version_count, stored_bytes) = (
    SELECT coalesce(sum(version_count), 0), coalesce(sum(version_count), 0) * 1000 FROM files
    WHERE files.client_id = clients.client_id);
UPDATE clients SET verified_versions = version_count;
)";

absl::Status Fill(const std::string& path, int64_t versions, int64_t chunks) {
  const int64_t clients = versions < 1'000'000 ? 1 : 1000;
  // Programs that know chunks must not look for the versions' content elsewhere.
  ASSIGN_OR_RETURN(const bool knows_chunks, HasColumn(path, "versions", "chunk_no"));
  const char* const column = !knows_chunks ? "" : chunks == 0 ? ", chunk_no" : ", recipe_id";
  const char* const value = !knows_chunks ? "" : chunks == 0 ? ", 0" : ", i + 1";
  // The totals are made up of these, if the program knows a trash.
  ASSIGN_OR_RETURN(const bool counts_clients, HasColumn(path, "clients", "version_count"));
  return FillCatalog(path, absl::StrCat(absl::Substitute(kFill, versions, clients, column, value),
                                        chunks > 0 ? absl::Substitute(kFillChunks, chunks) : "",
                                        counts_clients ? kCountClients : ""));
}

// The median time of calls of one kind. `call` is given the number of the call.
absl::StatusOr<double> MedianMilliseconds(
    absl::FunctionRef<grpc::Status(grpc::ClientContext&, int)> call) {
  std::vector<double> milliseconds;
  for (int i = 0; i < kCalls; ++i) {
    grpc::ClientContext context;
    context.set_deadline(rpc::DeadlineAfter(kDeadline));
    const auto start = MonotonicClock::now();
    const grpc::Status status = call(context, i);
    milliseconds.push_back(1e3 * SecondsSince(start));
    if (!status.ok()) return absl::InternalError(status.error_message());
  }
  return Median(milliseconds);
}

// As kFill writes them.
std::string ClientIdText(int number) {
  const std::string bytes = absl::StrFormat("client %09d", number);
  const std::string hex = absl::BytesToHexString(bytes);
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

absl::Status AskAll(const std::string& address, LargeCatalogResult& result) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  const auto channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  const auto catalog = v1::CatalogService::NewStub(channel);
  const auto admin = v1::AdminService::NewStub(channel);
  ASSIGN_OR_RETURN(result.get_status_milliseconds,
                   MedianMilliseconds([&](grpc::ClientContext& context, int) {
                     v1::GetStatusResponse response;
                     return admin->GetStatus(&context, {}, &response);
                   }));
  ASSIGN_OR_RETURN(result.get_version_milliseconds,
                   MedianMilliseconds([&](grpc::ClientContext& context, int i) {
                     v1::GetVersionRequest request;
                     request.set_client_id(ClientIdText(0));
                     request.set_file_name(absl::StrFormat("file %04d", 7 * i));
                     v1::GetVersionResponse response;
                     return catalog->GetVersion(&context, request, &response);
                   }));
  ASSIGN_OR_RETURN(result.list_files_milliseconds,
                   MedianMilliseconds([&](grpc::ClientContext& context, int) {
                     v1::ListFilesRequest request;
                     request.set_client_id(ClientIdText(0));
                     request.set_page_size(kPageSize);
                     v1::ListFilesResponse response;
                     return catalog->ListFiles(&context, request, &response);
                   }));
  ASSIGN_OR_RETURN(result.list_versions_milliseconds,
                   MedianMilliseconds([&](grpc::ClientContext& context, int) {
                     v1::ListVersionsRequest request;
                     request.set_client_id(ClientIdText(0));
                     request.set_file_name("file 0000");
                     request.set_page_size(kPageSize);
                     v1::ListVersionsResponse response;
                     return catalog->ListVersions(&context, request, &response);
                   }));
  ASSIGN_OR_RETURN(result.list_clients_milliseconds,
                   MedianMilliseconds([&](grpc::ClientContext& context, int) {
                     v1::ListClientsRequest request;
                     request.set_page_size(kPageSize);
                     v1::ListClientsResponse response;
                     return catalog->ListClients(&context, request, &response);
                   }));
  return absl::OkStatus();
}

// The first answer of a service that was just started.
absl::Status AskForStatus(const std::string& address) {
  const auto admin =
      v1::AdminService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(rpc::DeadlineAfter(kDeadline));
  v1::GetStatusResponse response;
  const grpc::Status status = admin->GetStatus(&context, {}, &response);
  return status.ok() ? absl::OkStatus() : absl::UnavailableError(status.error_message());
}

ChunkId RandomChunk(std::mt19937_64& random, int64_t chunks) {
  const auto number = static_cast<int64_t>(random() % static_cast<uint64_t>(chunks));
  return *ChunkId::FromBytes(absl::StrFormat("%012d%020d", number, number));
}

// Adds versions of as many chunks as one transaction may refer to, all over the catalog; the median
// time of their works, without the commit.
absl::StatusOr<double> MeasureKnownVersions(storage::Catalog& catalog, int64_t chunks) {
  std::mt19937_64 random(2);
  std::vector<double> milliseconds;
  for (int i = 0; i < kKnownVersions; ++i) {
    storage::Version version;
    version.client_id = *ClientId::FromBytes(absl::StrFormat("client %09d", 0));
    version.file_name = "known";
    version.sha256.assign(32, 's');
    storage::NewChunks content;
    while (content.recipe.size() < storage::Transaction::kMaxRecipePart)
      content.recipe.push_back({RandomChunk(random, chunks), kMebibyte});
    version.size_bytes = version.encoded_size = std::ssize(content.recipe) * kMebibyte;
    RETURN_IF_ERROR(catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(version.version_id, transaction.ReserveVersionIds(1));
      const auto start = MonotonicClock::now();
      RETURN_IF_ERROR(transaction.AddVersion(version, content, {}).status());
      milliseconds.push_back(1e3 * SecondsSince(start));
      return absl::OkStatus();
    }));
  }
  return Median(milliseconds);
}

}  // namespace

absl::StatusOr<LargeCatalogResult> MeasureLargeCatalog(const Programs& programs,
                                                       const std::string& dir, int64_t versions,
                                                       int64_t chunks) {
  {  // The schema is the service's own.
    RETURN_IF_ERROR(RunningService::Start(programs, dir).status());
  }
  RETURN_IF_ERROR(Fill(absl::StrCat(dir, "/data/catalog.db"), versions, chunks));
  LargeCatalogResult result;
  const auto start = MonotonicClock::now();
  ASSIGN_OR_RETURN(const RunningService service, RunningService::Start(programs, dir));
  RETURN_IF_ERROR(AskForStatus(service.address));
  result.seconds_to_ready = SecondsSince(start);
  RETURN_IF_ERROR(AskAll(service.address, result));
  result.resident_mebibytes = service.process.ResidentMebibytes();
  return result;
}

absl::StatusOr<ChunkLookupResult> MeasureChunkLookups(const std::string& dir, int64_t chunks) {
  const std::string path = absl::StrCat(dir, "/data/catalog.db");
  ASSIGN_OR_RETURN(const auto catalog, storage::SqliteCatalog::Open(path));
  {  // Out of the page cache.
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid() || ::fsync(fd.get()) != 0)
      return absl::ErrnoToStatus(errno, "open the catalog");
    ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
  }
  std::mt19937_64 random(1);
  std::vector<ChunkId> ids;
  for (int i = 0; i < kLookups; ++i) ids.push_back(RandomChunk(random, chunks));
  const auto look_up_all = [&]() -> absl::StatusOr<double> {
    std::vector<double> milliseconds;
    for (const ChunkId& id : ids) {
      const auto start = MonotonicClock::now();
      ASSIGN_OR_RETURN(const auto chunk, catalog->Read([&](storage::Snapshot& snapshot) {
        return snapshot.FindChunk(id);
      }));
      milliseconds.push_back(1e3 * SecondsSince(start));
      if (!chunk) return absl::NotFoundError("a chunk of the large catalog is not there");
    }
    return Median(milliseconds);
  };
  ChunkLookupResult result;
  ASSIGN_OR_RETURN(result.from_disk_milliseconds, look_up_all());
  ASSIGN_OR_RETURN(result.from_memory_milliseconds, look_up_all());
  ASSIGN_OR_RETURN(result.known_version_milliseconds, MeasureKnownVersions(*catalog, chunks));
  return result;
}

}  // namespace backup::bench
