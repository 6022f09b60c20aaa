#include "services/backup/blobs_location.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "glog/logging.h"
#include "storage/s3/s3_blob_store.h"

namespace backup {
namespace {

using storage::s3::Marker;
using storage::s3::S3BlobStore;

// Names of store values. The holder's has the newest one, and those before it, which the marker has
// after a crash in between, or when it is put late; or one of the words below.
constexpr char kInstallation[] = "installation";
constexpr char kLocation[] = "blobs.location";
constexpr char kHolder[] = "blobs.holder";
constexpr absl::string_view kRestored = "restored";
constexpr absl::string_view kAccepted = "accepted";
// Of a catalog that has marked what was not where its location says.
constexpr absl::string_view kRebuilt = "rebuilt";
constexpr size_t kMaxHolders = 8;
// Of ids of installations and holders, before they are written in hex.
constexpr size_t kIdSize = 16;
constexpr size_t kMaxLocationSize = 16 << 10;
// A part of the largest size and one of the least may be under way.
constexpr int64_t kLeastUploadBytes = int64_t{32} << 20;
constexpr int64_t kLeastReadAheadBytes = int64_t{8} << 20;
constexpr char kDefaultRegion[] = "us-east-1";
constexpr char kDefaultAddressing[] = "path";

std::string NewId() { return absl::BytesToHexString(crypto::RandomBytes(kIdSize)); }

// All that is written down.
std::array<std::string BlobsOptions::*, 6> Lines() {
  return {&BlobsOptions::url,        &BlobsOptions::endpoint,         &BlobsOptions::region,
          &BlobsOptions::addressing, &BlobsOptions::credentials_file, &BlobsOptions::ca_file};
}

bool IsOfAStore(std::string BlobsOptions::*line) { return line != &BlobsOptions::url; }

absl::StatusOr<storage::s3::Location> LocationOf(const BlobsOptions& options) {
  return storage::s3::ParseLocation(
      options.url, options.endpoint, options.region.empty() ? kDefaultRegion : options.region,
      options.addressing.empty() ? kDefaultAddressing : options.addressing);
}

std::string TextOf(const BlobsOptions& blobs) {
  std::string text;
  for (const auto line : Lines()) absl::StrAppend(&text, blobs.*line, "\n");
  return text;
}

absl::StatusOr<BlobsOptions> ParseText(absl::string_view text) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  BlobsOptions blobs;
  const auto known = Lines();
  if (lines.size() != known.size() + 1 || !lines.back().empty() || lines.front().empty())
    return absl::FailedPreconditionError("is not whole");
  for (size_t i = 0; i < known.size(); ++i) blobs.*known[i] = lines[i];
  return blobs;
}

std::string PathOf(const std::string& data_dir) {
  return absl::StrCat(data_dir, "/", kBlobsLocationName);
}

// What was written down; an empty url if nothing was. Nobody may take blobs that cannot be told for
// those in the data directory.
absl::StatusOr<BlobsOptions> ReadLocation(const std::string& path) {
  const std::optional<std::string> text = ReadSmallFile(path, kMaxLocationSize);
  if (!text && errno == ENOENT) return BlobsOptions();
  if (!text) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  absl::StatusOr<BlobsOptions> blobs = ParseText(*text);
  if (blobs.ok()) return blobs;
  return absl::FailedPreconditionError(
      absl::StrCat(path, " ", blobs.status().message(),
                   ": remove it, and give --blobs and what belongs to it once"));
}

// Nothing if it is there already: a full disk keeps nobody from starting.
absl::Status WriteLocation(const std::string& data_dir, const std::string& text) {
  const std::string path = PathOf(data_dir);
  const absl::StatusOr<BlobsOptions> known = ReadLocation(path);
  if (known.ok() && TextOf(*known) == text) return absl::OkStatus();
  if (ReplaceFile(path, text)) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
}

// `wanted` with what it leaves out as in `known`.
BlobsOptions Merged(const BlobsOptions& wanted, const BlobsOptions& known) {
  BlobsOptions merged = wanted;
  for (const auto line : Lines())
    if ((merged.*line).empty()) merged.*line = known.*line;
  return merged;
}

absl::Status CheckSame(const BlobsOptions& wanted, const BlobsOptions& known) {
  if (wanted.url.empty() || known.url.empty() || wanted.url == known.url) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("its blobs are in ", known.url, ": give that, instead of ", wanted.url));
}

// What a catalog says of its blobs.
struct Known {
  std::optional<std::string> installation;
  std::optional<std::string> location;
  std::string holder;
  bool has_blobs = false;  // Large content, wherever it is.
};

absl::StatusOr<Known> KnownBy(storage::Catalog& catalog) {
  return catalog.Read([](storage::Snapshot& snapshot) -> absl::StatusOr<Known> {
    Known known;
    ASSIGN_OR_RETURN(known.installation, snapshot.FindStoreValue(kInstallation));
    ASSIGN_OR_RETURN(known.location, snapshot.FindStoreValue(kLocation));
    ASSIGN_OR_RETURN(const std::optional<std::string> holder, snapshot.FindStoreValue(kHolder));
    known.holder = holder.value_or("");
    ASSIGN_OR_RETURN(const storage::Counts counts, snapshot.Count());
    known.has_blobs = counts.packs > 0 || counts.blob_bytes > 0;
    return known;
  });
}

bool Names(const std::string& holders, const std::string& holder) {
  const std::vector<std::string> words = absl::StrSplit(holders, ' ', absl::SkipEmpty());
  return std::find(words.begin(), words.end(), holder) != words.end();
}

// What a catalog is to say of its holders that said `known`, once `newest` holds what had `marker`.
std::string HoldersAfter(const std::string& known, const std::string& newest,
                         const std::optional<Marker>& marker) {
  std::vector<std::string> holders = {newest};
  if (marker) holders.push_back(marker->holder);
  for (const absl::string_view word : absl::StrSplit(known, ' ', absl::SkipEmpty())) {
    const bool is_holder = word.size() == Marker::kHolderSize;
    if (is_holder && !(marker && word == marker->holder) && holders.size() < kMaxHolders)
      holders.emplace_back(word);
  }
  return absl::StrJoin(holders, " ");
}

class S3Blobs final : public RemoteBlobs {
 public:
  S3Blobs(BlobsOptions options, std::unique_ptr<S3BlobStore> store)
      : options_(std::move(options)), store_(std::move(store)), place_(store_.get()) {}

  absl::Status CheckIsNew() override;
  absl::Status CheckOwner(storage::Catalog& catalog) override;
  absl::Status Adopt(storage::Catalog& catalog) override;
  absl::Status Claim(const std::string& data_dir, storage::Catalog& catalog) override;
  absl::Status Prepare(const std::string& id) override;
  bool IsTakenOver() override { return place_->IsTakenOver(); }
  std::unique_ptr<storage::BlobStore> Release() override { return std::move(store_); }

 private:
  absl::Status Refuse(absl::string_view why) const {
    return absl::FailedPreconditionError(absl::StrCat(options_.url, " ", why));
  }
  // The marker of the catalog's own installation, if it is there; an error if there are others.
  absl::StatusOr<std::optional<Marker>> FindOwn(const Known& known) const;
  // Whether they may be the catalog's, which has no marker there.
  absl::Status CheckIsFree(const Known& known) const;
  // Whether this is the place that the catalog knows.
  absl::StatusOr<bool> IsAt(const Known& known) const;
  absl::Status CheckHolder(const Known& known, const Marker& marker) const;

  const BlobsOptions options_;
  std::unique_ptr<S3BlobStore> store_;
  S3BlobStore* const place_;  // Which lasts as long as who got it keeps it.
};

absl::StatusOr<std::optional<Marker>> S3Blobs::FindOwn(const Known& known) const {
  ASSIGN_OR_RETURN(const std::vector<Marker> markers, place_->FindMarkers());
  std::optional<Marker> own;
  for (const Marker& marker : markers) {
    if (marker.installation != known.installation) {
      return Refuse(absl::StrCat(
          "has the blobs of another installation, ", marker.installation,
          ": give another bucket or prefix, or get their catalog back (backupctl state restore)"));
    }
    own = marker;
  }
  return own;
}

absl::StatusOr<bool> S3Blobs::IsAt(const Known& known) const {
  if (!known.location) return false;
  ASSIGN_OR_RETURN(const BlobsOptions there, ParseText(*known.location));
  return there.url == options_.url && there.endpoint == options_.endpoint;
}

absl::Status S3Blobs::CheckIsFree(const Known& known) const {
  if (known.holder == kRebuilt) {
    ASSIGN_OR_RETURN(const bool is_there, IsAt(known));
    if (is_there) return absl::OkStatus();
  }
  if (known.installation && known.has_blobs) {
    // It may not go on before it knows what it has lost: who sends that again is told that it is
    // there.
    return Refuse(absl::StrCat(
        "has not the blobs of this catalog (there is no object installation/", *known.installation,
        "): correct --blobs or --s3_endpoint; if the bucket was emptied, ",
        known.holder == kAccepted ? "" : "`backupctl state accept` and then ",
        "`backupctl state rebuild` goes on without what is gone"));
  }
  if (known.has_blobs)
    return Refuse("has not the blobs of this catalog, which are in a data directory");
  ASSIGN_OR_RETURN(const bool has_blobs, place_->HasBlobs());
  return has_blobs ? Refuse("has blobs of which nobody knows whose they are: give another prefix")
                   : absl::OkStatus();
}

absl::Status S3Blobs::CheckHolder(const Known& known, const Marker& marker) const {
  const bool takes_over = known.holder == kRestored || known.holder == kAccepted;
  if (Names(known.holder, marker.holder)) return absl::OkStatus();
  if (!takes_over) {
    return Refuse(
        "is held by a newer copy of this catalog, which has gone on: end that one for good and "
        "use its data directory, or its newest snapshot; `backupctl state accept` takes the blobs "
        "over without what it did");
  }
  LOG(WARNING) << options_.url << " was held by another service, " << marker.holder
               << ", and is this one's from now on: that one must not go on";
  return absl::OkStatus();
}

absl::Status S3Blobs::CheckIsNew() {
  RETURN_IF_ERROR(FindOwn({}).status());
  return CheckIsFree({});
}

absl::Status S3Blobs::CheckOwner(storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(const Known known, KnownBy(catalog));
  ASSIGN_OR_RETURN(const std::optional<Marker> own, FindOwn(known));
  return own || (!known.has_blobs && !known.installation) ? absl::OkStatus() : CheckIsFree(known);
}

absl::Status S3Blobs::Adopt(storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(const Known known, KnownBy(catalog));
  std::string installation = known.installation.value_or("");
  absl::string_view holder = kRestored;
  if (known.installation || known.has_blobs) {
    ASSIGN_OR_RETURN(const std::optional<Marker> own, FindOwn(known));
    if (!own && known.holder != kAccepted)
      return CheckIsFree({known.installation, known.location, "", /*has_blobs=*/true});
    if (!own) holder = kRebuilt;
  } else {
    ASSIGN_OR_RETURN(const std::vector<Marker> markers, place_->FindMarkers());
    if (markers.size() != 1) {
      return Refuse(markers.empty() ? "has no blobs of any installation: correct --blobs"
                                    : "has blobs of several installations");
    }
    installation = markers.front().installation;
  }
  return catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.SetStoreValue(kInstallation, installation));
    RETURN_IF_ERROR(transaction.SetStoreValue(kLocation, TextOf(options_)));
    return transaction.SetStoreValue(kHolder, std::string(holder));
  });
}

absl::Status S3Blobs::Claim(const std::string& data_dir, storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(const Known known, KnownBy(catalog));
  ASSIGN_OR_RETURN(const std::optional<Marker> own, FindOwn(known));
  RETURN_IF_ERROR(own ? CheckHolder(known, *own) : CheckIsFree(known));
  Marker marker = {known.installation.value_or(NewId()), NewId()};
  // First here: what is in the marker and not here is another's.
  const absl::Status noted = catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.SetStoreValue(kInstallation, marker.installation));
    RETURN_IF_ERROR(transaction.SetStoreValue(kLocation, TextOf(options_)));
    return transaction.SetStoreValue(kHolder, HoldersAfter(known.holder, marker.holder, own));
  });
  // A full disk keeps nobody from starting who held them before.
  const bool stays =
      ReasonOf(noted) == Reason::kStorageFull && own && Names(known.holder, own->holder);
  if (!stays) RETURN_IF_ERROR(noted);
  if (!stays) RETURN_IF_ERROR(place_->Claim(marker, /*is_new=*/!own));
  place_->Watch(marker.installation, [&catalog](const std::string& holder) -> absl::StatusOr<bool> {
    ASSIGN_OR_RETURN(
        const std::optional<std::string> holders,
        catalog.Read([](storage::Snapshot& snapshot) { return snapshot.FindStoreValue(kHolder); }));
    return Names(holders.value_or(""), holder);
  });
  return WriteLocation(data_dir, TextOf(options_));
}

absl::Status S3Blobs::Prepare(const std::string& id) {
  Known coming;
  coming.installation = id;
  ASSIGN_OR_RETURN(const std::optional<Marker> own, FindOwn(coming));
  if (own) return absl::OkStatus();
  RETURN_IF_ERROR(CheckIsFree({}));
  return place_->Claim({id, id}, /*is_new=*/true);
}

storage::s3::CredentialsOptions CredentialsOf(const BlobsOptions& blobs) {
  storage::s3::CredentialsOptions from;
  from.file = blobs.credentials_file;
  from.environment = [](const char* name) { return std::getenv(name); };
  return from;
}

}  // namespace

std::string FindCredentialsFile(const std::string& data_dir, const BlobsOptions& options) {
  const absl::StatusOr<BlobsOptions> known = ReadLocation(PathOf(data_dir));
  const BlobsOptions blobs = known.ok() ? Merged(options, *known) : options;
  return blobs.url.empty() ? "" : storage::s3::CredentialsFile(CredentialsOf(blobs));
}

absl::StatusOr<BlobsOptions> FindBlobsLocation(const std::string& data_dir) {
  return ReadLocation(PathOf(data_dir));
}

absl::StatusOr<std::string> BlobsUrlOf(storage::CatalogRows& rows) {
  for (const storage::CatalogTable& table : storage::CatalogTables()) {
    if (absl::string_view(table.name) != "store_values") continue;
    storage::Row after;
    while (true) {
      ASSIGN_OR_RETURN(const std::vector<storage::Row> values, rows.Read(table, after));
      if (values.empty()) return "";
      for (const storage::Row& value : values) {
        if (value[0] != storage::Cell(std::string(kLocation))) continue;
        ASSIGN_OR_RETURN(const BlobsOptions blobs, ParseText(std::get<std::string>(value[1])));
        return blobs.url;
      }
      after = {values.back()[0]};
    }
  }
  return "";
}

absl::Status WriteBlobsLocation(const std::string& data_dir, const BlobsOptions& blobs) {
  return WriteLocation(data_dir, TextOf(blobs));
}

std::vector<std::pair<std::string, std::string>> InstallationValues(const BlobsOptions& blobs,
                                                                    const std::string& id) {
  return {{kInstallation, id}, {kLocation, TextOf(blobs)}, {kHolder, id}};
}

const std::vector<std::string>& InstallationValueNames() {
  static const auto* const names = new std::vector<std::string>{kInstallation, kLocation, kHolder};
  return *names;
}

absl::Status CheckBlobsOptions(const BlobsOptions& options) {
  const auto is_too_small = [](int64_t bytes, int64_t least) {
    return bytes != 0 && bytes < least;
  };
  if (is_too_small(options.max_upload_bytes, kLeastUploadBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the memory for uploads must be at least ", kLeastUploadBytes, " bytes"));
  }
  if (is_too_small(options.max_read_ahead_bytes, kLeastReadAheadBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the memory for reads must be at least ", kLeastReadAheadBytes, " bytes"));
  }
  for (const std::string& path : {options.credentials_file, options.ca_file}) {
    if (!path.empty() && ::access(path.c_str(), R_OK) != 0)
      return absl::InvalidArgumentError(
          absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
  }
  if (!options.url.empty()) return LocationOf(options).status();
  // What is wrong in itself; the url may be known.
  BlobsOptions any = options;
  any.url = "s3://bucket";
  return LocationOf(any).status();
}

absl::StatusOr<bool> AreBlobsElsewhere(storage::Snapshot& snapshot) {
  ASSIGN_OR_RETURN(const std::optional<std::string> location, snapshot.FindStoreValue(kLocation));
  return location.has_value();
}

absl::StatusOr<BlobsOptions> ChooseBlobs(const std::string& data_dir, const BlobsOptions& wanted,
                                         bool has_local_blobs, storage::Catalog& catalog,
                                         Moved moved) {
  ASSIGN_OR_RETURN(const Known said, KnownBy(catalog));
  ASSIGN_OR_RETURN(const BlobsOptions known,
                   said.location ? ParseText(*said.location) : ReadLocation(PathOf(data_dir)));
  if (!wanted.url.empty() && known.url.empty() && has_local_blobs) {
    return absl::FailedPreconditionError(absl::StrCat(
        "it has blobs of its own, which would be lost from sight: start without --blobs=",
        wanted.url, ", or with another --data_dir"));
  }
  if (moved == Moved::kNo) RETURN_IF_ERROR(CheckSame(wanted, known));
  BlobsOptions blobs = Merged(wanted, known);
  if (!blobs.url.empty()) return blobs;
  if (said.installation) {
    return absl::FailedPreconditionError(
        "its blobs are in an object store, and nothing tells which: give --blobs");
  }
  for (const auto line : Lines()) {
    if (IsOfAStore(line) && !(blobs.*line).empty()) {
      return absl::FailedPreconditionError(
          "its blobs are in the data directory: --s3_endpoint and the like are of use with --blobs "
          "only");
    }
  }
  return blobs;
}

absl::StatusOr<bool> FitsLocation(const std::string& data_dir, storage::Catalog& catalog) {
  const absl::StatusOr<BlobsOptions> told = ReadLocation(PathOf(data_dir));
  if (!told.ok() || told->url.empty()) return true;
  ASSIGN_OR_RETURN(const Known known, KnownBy(catalog));
  if (!known.location) return !known.has_blobs;
  ASSIGN_OR_RETURN(const BlobsOptions blobs, ParseText(*known.location));
  return blobs.url == told->url;
}

absl::StatusOr<std::unique_ptr<RemoteBlobs>> RemoteBlobs::Open(const BlobsOptions& options,
                                                               Access access) {
  static const SystemClock clock;
  BlobsOptions blobs = options;
  for (std::string* const path : {&blobs.credentials_file, &blobs.ca_file}) {
    std::error_code error;
    if (!path->empty()) *path = std::filesystem::absolute(*path, error).string();
  }
  S3BlobStore::Options of_store;
  ASSIGN_OR_RETURN(of_store.client.location, LocationOf(blobs));
  of_store.client.transport.ca_file = blobs.ca_file;
  of_store.only_reads = access == Access::kRead;
  if (blobs.metrics != nullptr) of_store.client.metrics = storage::s3::S3Metrics(*blobs.metrics);
  if (blobs.max_upload_bytes > 0) of_store.max_upload_bytes = blobs.max_upload_bytes;
  if (blobs.max_read_ahead_bytes > 0) of_store.max_read_ahead_bytes = blobs.max_read_ahead_bytes;
  ASSIGN_OR_RETURN(auto credentials, storage::s3::CredentialsSource::Open(CredentialsOf(blobs)));
  auto store = S3BlobStore::Open(of_store, std::move(credentials), clock);
  if (store.ok()) return std::make_unique<S3Blobs>(std::move(blobs), *std::move(store));
  return WithMessage(store.status(), absl::StrCat(blobs.url, ": ", store.status().message()));
}

absl::Status LetTakeOver(storage::Transaction& transaction, TakeOver take_over) {
  ASSIGN_OR_RETURN(const std::optional<std::string> installation,
                   transaction.FindStoreValue(kInstallation));
  if (!installation) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<std::string> holder, transaction.FindStoreValue(kHolder));
  if (holder == kAccepted) return absl::OkStatus();
  return transaction.SetStoreValue(
      kHolder, std::string(take_over == TakeOver::kAccepted ? kAccepted : kRestored));
}

}  // namespace backup
