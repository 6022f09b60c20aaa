#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/metrics.h"
#include "storage/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/snapshot.h"
#include "storage/catalog/tables.h"
#include "storage/catalog/transaction.h"

// Where a service's blobs are, if not in its data directory, and whose they are. Both are written
// down three times: in the catalog, and so in its snapshots; in DATA_DIR/blobs.location, which
// tells it without a catalog; and in the store itself (storage/s3/ownership.h).
namespace backup {

// Where the blobs are. What is empty is as it was, or else as it says.
struct BlobsOptions {
  std::string url;  // s3://BUCKET[/PREFIX]; else in the data directory.
  // Of an object store (storage/s3/location.h):
  std::string endpoint;
  std::string region;            // Else us-east-1.
  std::string addressing;        // Else path.
  std::string credentials_file;  // Else as CredentialsOptions says.
  std::string ca_file;           // Else whom the system trusts.
  // Of memory, on this run: of parts on their way to the store, and of what is read ahead.
  int64_t max_upload_bytes = 0;      // 0: S3BlobStore::kMaxUploadBytes; at least 32 MiB.
  int64_t max_read_ahead_bytes = 0;  // 0: S3BlobStore::kMaxReadAheadBytes; at least 8 MiB.
  Metrics* metrics = nullptr;        // What counts requests; must outlive the blobs.
};

// InvalidArgument, in one line, for what cannot be meant.
absl::Status CheckBlobsOptions(const BlobsOptions& options);

inline constexpr char kBlobsLocationName[] = "blobs.location";

// The file with the object store's key, as far as it can be told without opening the catalog; empty
// if the blobs of the data directory are not in a store, or its key is in variables.
std::string FindCredentialsFile(const std::string& data_dir, const BlobsOptions& options);
// Where DATA_DIR/blobs.location says that blobs are; an empty url: it says nothing. Errors:
// FailedPrecondition if that cannot be told.
absl::StatusOr<BlobsOptions> FindBlobsLocation(const std::string& data_dir);
// Has it say that, durably.
absl::Status WriteBlobsLocation(const std::string& data_dir, const BlobsOptions& blobs);
// The url that a catalog says; empty: they are in its data directory.
absl::StatusOr<std::string> BlobsUrlOf(storage::CatalogRows& rows);
// Whether a catalog says that its blobs are in an object store.
absl::StatusOr<bool> AreBlobsElsewhere(storage::Snapshot& snapshot);

// Whether others than those where they are may be meant.
enum class Moved { kNo, kMaybe };

// Where the blobs of a catalog are, for who wants them where `wanted` says: what that leaves out is
// as the catalog has it, or else DATA_DIR/blobs.location. An empty url: in the data directory.
// FailedPrecondition if they are somewhere else, if it cannot be told, or if the directory has
// blobs of its own (`has_local_blobs`).
absl::StatusOr<BlobsOptions> ChooseBlobs(const std::string& data_dir, const BlobsOptions& wanted,
                                         bool has_local_blobs, storage::Catalog& catalog,
                                         Moved moved);

// Whether this catalog's blobs may be where DATA_DIR/blobs.location says that those of the
// directory are; also if it says nothing, or cannot be read.
absl::StatusOr<bool> FitsLocation(const std::string& data_dir, storage::Catalog& catalog);

// Blobs in an object store that is open.
class RemoteBlobs {
 public:
  enum class Access { kRead, kWrite };

  // Tries what blobs need, or what who reads them does, before anything is written anywhere.
  static absl::StatusOr<std::unique_ptr<RemoteBlobs>> Open(const BlobsOptions& options,
                                                           Access access);
  virtual ~RemoteBlobs() = default;

  // FailedPrecondition if they are anybody's, or nobody knows whose: for who has no catalog yet.
  virtual absl::Status CheckIsNew() = 0;
  // FailedPrecondition unless they are those of this catalog.
  virtual absl::Status CheckOwner(storage::Catalog& catalog) = 0;
  // Makes a catalog that is made anew of them theirs, to be held by the service that starts with
  // it; FailedPrecondition if it is another's, or if they have no marker and it was not accepted.
  // Whoever calls this marks what is not there.
  virtual absl::Status Adopt(storage::Catalog& catalog) = 0;
  // Makes them those of this catalog, if they are nobody's and it has none, and its service their
  // holder; from then on nothing is stored or deleted that another holds. Writes down where they
  // are. FailedPrecondition, in one line that says what to do, if they are another's, if those of
  // the catalog are not there, or if the catalog is a copy whose other half has gone on.
  virtual absl::Status Claim(const std::string& data_dir, storage::Catalog& catalog) = 0;
  // Makes a place that is nobody's, or that this made so before, that of an installation which
  // comes there: `id` (32 hex digits) is the installation's and its holder's. Its catalog has to
  // say what InstallationValues() does. FailedPrecondition if it is anybody's.
  virtual absl::Status Prepare(const std::string& id) = 0;
  // Once they are claimed: looks whether another service holds them by now, for ever; false if
  // nobody can tell. Thread-safe. The store must be there still.
  virtual bool IsTakenOver() = 0;
  // The store itself; once.
  virtual std::unique_ptr<storage::BlobStore> Release() = 0;
};

// What a catalog says of blobs that are here, with the `id` of RemoteBlobs::Prepare(), by the names
// of store values; and the names of all store values that say where blobs are, and whose.
std::vector<std::pair<std::string, std::string>> InstallationValues(const BlobsOptions& blobs,
                                                                    const std::string& id);
const std::vector<std::string>& InstallationValueNames();

// Lets a catalog that comes from a snapshot, or was accepted by the operator, hold its blobs when a
// service starts with it, whoever held them before. Accepted, which it stays until then, it may be
// made anew even of a place that has lost them (RemoteBlobs::Adopt()). Nothing for a catalog whose
// blobs are in the data directory.
enum class TakeOver { kRestored, kAccepted };
absl::Status LetTakeOver(storage::Transaction& transaction, TakeOver take_over);

}  // namespace backup
