#include "services/backup/rebuild_state.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "backup/v1/admin.pb.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/name_text.h"
#include "base/piece_buffers.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "content/blob_footer.h"
#include "content/chunk_seal.h"
#include "content/footer_fields.h"
#include "content/pack_footer.h"
#include "content/store_keys.h"
#include "content/told_content.h"
#include "crypto/key_ring.h"
#include "crypto/random.h"
#include "services/backup/audit/actions.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/store_keys.h"
#include "services/backup/handlers/verify_store.h"
#include "services/backup/snapshot_healing.h"
#include "storage/blob_store.h"

namespace backup {
namespace {

using content::PackFooter;
using storage::BlobUse;
using storage::Transaction;

constexpr int kPage = 256;

// One rebuild, on a catalog that is in nobody's use yet. Used by one thread at a time.
class Rebuild {
 public:
  Rebuild(storage::Catalog& catalog, const storage::BlobStore& blobs,
          const crypto::KeyRing& master_key, MissingKeys missing_keys, absl::Time now,
          const StateListener& listener, RebuildReport& report)
      : catalog_(catalog),
        blobs_(blobs),
        master_key_(master_key),
        now_(now),
        missing_keys_(missing_keys),
        retain_until_(now + kKeepRebuilt),
        listener_(listener),
        report_(report),
        lease_{*OwnerId::FromBytes(crypto::RandomBytes(OwnerId::kSize)), absl::InfiniteFuture()} {}

  absl::Status Run() {
    RETURN_IF_ERROR(ListBlobs());
    RETURN_IF_ERROR(MarkWhatIsGone());
    listener_("what is gone is marked");
    RETURN_IF_ERROR(TakeBlobsIn());
    listener_("blobs are taken in");
    RETURN_IF_ERROR(GatherOlderParts());
    RETURN_IF_ERROR(TakeToldVersionsIn());
    listener_("versions are taken in");
    RETURN_IF_ERROR(DropSecondCopies());
    return SkipVersionIds();
  }

 private:
  absl::Status ListBlobs();
  // Reason KEY_MISSING if a pack that the catalog knows, and that is there, is sealed by a
  // generation that is missing, and that is not to be given up.
  absl::Status CheckKeyOf(const storage::PackInfo& pack) const;
  bool EndsAt(const absl::Status& error) const {
    return missing_keys_ == MissingKeys::kRefuse && ReasonOf(error) == Reason::kKeyMissing;
  }
  // Chunks whose pack is gone are elsewhere, or lost.
  absl::Status MarkWhatIsGone();
  absl::Status MarkChunksOf(const storage::PackInfo& pack);
  // What the catalog knows nothing of.
  absl::Status TakeBlobsIn();
  absl::Status TakeBlobIn(const BlobId& id);
  absl::Status TakePackIn(const BlobId& id, const RandomAccess& blob);
  absl::StatusOr<PackFooter> ReadFooter(const BlobId& id, const RandomAccess& blob) const;
  absl::Status KeepSecret(const PackFooter& footer);
  // Parts of contents in question that are in packs that the catalog knew.
  absl::Status GatherOlderParts();
  absl::Status TakeToldVersionsIn();
  // Makes `version` and its content be there, if they are not.
  absl::Status TakeVersionIn(const storage::Version& version, const storage::NewContent& content);
  absl::Status TakeContentIn(const storage::StoredVersion& known, const storage::Version& version,
                             const storage::NewContent& content);
  // Of what versions have, once all of that could be read, or have discarded: the sweep then
  // deletes them. Others stay unknown to the catalog.
  absl::Status DropSecondCopies();
  // Whether it is there with content that is in the store, or has none by right.
  bool HasContent(const storage::StoredVersion& stored) const;
  absl::Status AddClientOf(const storage::Version& version);
  // After the snapshot it was taken back, or else it could not have sent `version`.
  absl::Status TakeClientBack(const storage::Client& in_trash, const storage::Version& version);
  absl::Status SkipVersionIds();
  void Lose(absl::string_view what, const absl::Status& why);

  storage::Catalog& catalog_;
  const storage::BlobStore& blobs_;
  const crypto::KeyRing& master_key_;
  const absl::Time now_;
  const MissingKeys missing_keys_;
  const absl::Time retain_until_;
  const StateListener& listener_;
  RebuildReport& report_;
  const storage::BlobLease lease_;
  std::vector<BlobId> there_;  // All that the store has, in order.
  int64_t last_version_id_ = 0;
  // Blobs of versions that have other content, which is in the store and not marked as damaged.
  std::vector<std::pair<BlobId, storage::StoredVersion>> second_copies_;
  std::map<std::string, content::ToldContent> told_;  // By content id, of packs that were taken in.
};

std::string NameOf(const storage::Version& version) {
  return absl::StrCat("version ", version.version_id, " of ", NameToText(version.file_name),
                      " of client ", ToUuid(version.client_id));
}

// What it is sealed by may be at hand yet, so it is not lost.
absl::Status KeyMissing(const BlobId& id, const absl::Status& why) {
  return WithMessage(
      why, absl::StrCat("the catalog is left as it is: blob ", ToHex(id), ": ", why.message(),
                        " (--key_generations_file), or give a --snapshot of a time "
                        "when it was there; if it is lost for ever, --give-up-missing-keys goes on "
                        "without what it has sealed, and names that"));
}

// What would be lost for another reason than what there is of it.
bool Ends(const absl::Status& error) {
  return ReasonOf(error) == Reason::kStorageFull || ReasonOf(error) == Reason::kStateCorrupt ||
         storage::SaysStoreIsAway(error);
}

void Rebuild::Lose(absl::string_view what, const absl::Status& why) {
  ++report_.lost_count;
  if (report_.lost.size() < RebuildReport::kMaxLost)
    report_.lost.push_back(absl::StrCat(what, ": ", why.message()));
}

absl::Status Rebuild::ListBlobs() {
  RETURN_IF_ERROR(blobs_.List([&](const storage::BlobInfo& info) {
    there_.push_back(info.id);
    return absl::OkStatus();
  }));
  std::sort(there_.begin(), there_.end());
  return absl::OkStatus();
}

absl::Status Rebuild::MarkWhatIsGone() {
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::PackInfo> packs,
                     catalog_.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListPacks(after, kPage);
                     }));
    if (packs.empty()) return absl::OkStatus();
    for (const storage::PackInfo& pack : packs) {
      after = pack.pack;
      const bool is_there = std::binary_search(there_.begin(), there_.end(), pack.blob_id);
      RETURN_IF_ERROR(is_there ? CheckKeyOf(pack) : MarkChunksOf(pack));
    }
  }
}

absl::Status Rebuild::CheckKeyOf(const storage::PackInfo& pack) const {
  if (pack.wrapped_key.empty()) return absl::OkStatus();
  const absl::Status opened =
      content::OpenPackKey(pack.wrapped_key, pack.blob_id, master_key_).status();
  return EndsAt(opened) ? KeyMissing(pack.blob_id, opened) : absl::OkStatus();
}

absl::Status Rebuild::MarkChunksOf(const storage::PackInfo& pack) {
  int after = -1;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::StoredChunk> chunks,
                     catalog_.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListPackChunks(pack.pack, after, kPage);
                     }));
    if (chunks.empty()) return absl::OkStatus();
    after = chunks.back().index;
    RETURN_IF_ERROR(catalog_.Run([&](Transaction& transaction) -> absl::Status {
      for (const storage::StoredChunk& chunk : chunks)
        RETURN_IF_ERROR(transaction.MarkDamaged(chunk.number, pack.pack));
      return absl::OkStatus();
    }));
  }
}

absl::Status Rebuild::TakeBlobsIn() {
  for (const BlobId& id : there_) {
    ASSIGN_OR_RETURN(const BlobUse use, catalog_.Read([&](storage::Snapshot& snapshot) {
      return snapshot.FindBlob(id);
    }));
    if (use != BlobUse::kUnknown) continue;
    const absl::Status taken = TakeBlobIn(id);
    if (taken.ok()) continue;
    if (Ends(taken)) return taken;
    if (EndsAt(taken)) return KeyMissing(id, taken);
    Lose(absl::StrCat("blob ", ToHex(id)), taken);
  }
  return absl::OkStatus();
}

absl::Status Rebuild::TakeBlobIn(const BlobId& id) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> blob, blobs_.Open(id));
  ASSIGN_OR_RETURN(const bool is_pack, content::IsPack(*blob));
  if (is_pack) return TakePackIn(id, *blob);
  ASSIGN_OR_RETURN(const content::BlobFooter footer, content::ReadFooter(*blob));
  if (footer.form != storage::StorageForm::kPlain) {
    const absl::Status opened =
        master_key_.Open(footer.wrapped_key, content::EncodeFooterFields(footer)).status();
    if (ReasonOf(opened) == Reason::kKeyMissing) return opened;
  }
  const int64_t size_bytes = blob->size_bytes();
  RETURN_IF_ERROR(catalog_.Run(
      [&](Transaction& transaction) { return transaction.AddPendingBlobs({id}, lease_); }));
  return TakeVersionIn(content::VersionOf(footer), storage::NewBlob{id, size_bytes});
}

absl::StatusOr<PackFooter> Rebuild::ReadFooter(const BlobId& id, const RandomAccess& blob) const {
  ASSIGN_OR_RETURN(PackFooter footer, content::ReadPackFooter(blob));
  if (footer.pack_id != id) return MakeError(Reason::kBlobDamaged, "it is another pack's blob");
  if (footer.form != storage::StorageForm::kSealed) return footer;
  ASSIGN_OR_RETURN(const SecretBytes key,
                   content::OpenPackKey(footer.wrapped_key, footer.pack_id, master_key_));
  RETURN_IF_ERROR(content::CheckPackSeal(footer, key));
  return footer;
}

absl::Status Rebuild::TakePackIn(const BlobId& id, const RandomAccess& blob) {
  ASSIGN_OR_RETURN(PackFooter footer, ReadFooter(id, blob));
  RETURN_IF_ERROR(KeepSecret(footer));
  storage::NewPack pack;
  pack.blob_id = id;
  pack.size_bytes = blob.size_bytes();
  ASSIGN_OR_RETURN(pack.footer_bytes, content::FooterSize(blob));
  pack.form = footer.form;
  pack.wrapped_key = footer.wrapped_key;
  pack.chunks = footer.chunks;
  RETURN_IF_ERROR(catalog_.Run([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(transaction.AddPendingBlobs({id}, lease_));
    storage::NewChunks chunks;
    chunks.packs.push_back(pack);
    ASSIGN_OR_RETURN(const int64_t nothing, transaction.AppendRecipe(chunks, lease_));
    return transaction.DropPendingRecipe(nothing);
  }));
  ++report_.packs;
  for (const PackFooter::Part& part : footer.parts) told_[part.content_id].Add(part);
  return absl::OkStatus();
}

absl::Status Rebuild::KeepSecret(const PackFooter& footer) {
  RETURN_IF_ERROR(content::StoreKeys::Open(footer.sealed_secret, master_key_).status());
  return catalog_
      .Run([&](Transaction& transaction) {
        return transaction.AddStoreValue(std::string(content::StoreKeys::kName),
                                         footer.sealed_secret);
      })
      .status();
}

absl::Status Rebuild::GatherOlderParts() {
  const bool all_are_whole = std::all_of(told_.begin(), told_.end(),
                                         [](const auto& each) { return each.second.IsWhole(); });
  if (all_are_whole) return absl::OkStatus();
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::PackInfo> packs,
                     catalog_.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListPacks(after, kPage);
                     }));
    if (packs.empty()) return absl::OkStatus();
    for (const storage::PackInfo& pack : packs) {
      after = pack.pack;
      const auto blob = blobs_.Open(pack.blob_id);
      if (storage::SaysStoreIsAway(blob.status())) return blob.status();
      if (!blob.ok()) continue;
      const absl::StatusOr<PackFooter> footer = ReadFooter(pack.blob_id, **blob);
      if (storage::SaysStoreIsAway(footer.status())) return footer.status();
      if (EndsAt(footer.status())) return KeyMissing(pack.blob_id, footer.status());
      if (!footer.ok()) continue;  // The check afterwards says so.
      for (const PackFooter::Part& part : footer->parts) {
        const auto found = told_.find(part.content_id);
        if (found != told_.end()) found->second.Add(part);
      }
    }
  }
}

absl::Status Rebuild::TakeToldVersionsIn() {
  std::map<int64_t, const content::ToldContent*> by_version_id;
  for (const auto& [id, told] : told_) {
    // Without its version it is what an upload left that never ended, or one that is told
    // elsewhere.
    if (told.version()) by_version_id.emplace(told.version()->version_id, &told);
  }
  for (const auto& [id, each] : by_version_id) {
    const content::ToldContent& told = *each;
    const storage::Version& version = *told.version();
    last_version_id_ = std::max(last_version_id_, version.version_id);
    absl::Status taken = absl::OkStatus();
    if (told.IsWhole()) {
      storage::NewChunks chunks;
      chunks.recipe = told.Steps();
      absl::StatusOr<storage::NewContent> content = PutRecipe(catalog_, lease_, std::move(chunks));
      taken = content.ok() ? TakeVersionIn(version, *content) : content.status();
    } else {
      taken = absl::NotFoundError("packs that tell of it are missing");
    }
    if (Ends(taken)) return taken;
    if (!taken.ok()) Lose(NameOf(version), taken);
  }
  return absl::OkStatus();
}

bool Rebuild::HasContent(const storage::StoredVersion& stored) const {
  const auto* blob = std::get_if<BlobId>(&stored.content);
  return blob == nullptr || std::binary_search(there_.begin(), there_.end(), *blob);
}

absl::Status Rebuild::TakeVersionIn(const storage::Version& version,
                                    const storage::NewContent& content) {
  last_version_id_ = std::max(last_version_id_, version.version_id);
  // By its id alone: it may be in the trash.
  ASSIGN_OR_RETURN(const std::optional<storage::StoredVersion> known,
                   FindById(catalog_, version.version_id));
  if (known) return TakeContentIn(*known, version, content);
  RETURN_IF_ERROR(AddClientOf(version));
  storage::Version kept = version;
  kept.retain_until = retain_until_;
  kept.arrive_time = now_;
  RETURN_IF_ERROR(
      catalog_
          .Run([&](Transaction& transaction) { return transaction.AddVersion(kept, content, {}); })
          .status());
  ++report_.versions;
  return absl::OkStatus();
}

absl::Status Rebuild::TakeContentIn(const storage::StoredVersion& known,
                                    const storage::Version& version,
                                    const storage::NewContent& content) {
  if (known.version.client_id != version.client_id ||
      known.version.file_name != version.file_name || known.version.sha256 != version.sha256)
    return absl::AlreadyExistsError("the snapshot has another version with this number");
  const auto* const copy = std::get_if<storage::NewBlob>(&content);
  if (HasContent(known) && (copy == nullptr || !known.version.is_damaged)) {
    if (copy != nullptr) second_copies_.emplace_back(copy->id, known);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(catalog_
                      .Run([&](Transaction& transaction) {
                        return known.version.is_damaged
                                   ? transaction.HealVersion(version.version_id, known.content,
                                                             version.form, content)
                                   : transaction.ReplaceContent(version.version_id, known.content,
                                                                content);
                      })
                      .status());
  ++report_.moved;
  return absl::OkStatus();
}

absl::Status Rebuild::DropSecondCopies() {
  if (second_copies_.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::unique_ptr<content::StoreKeys> keys,
                   handlers::OpenStoreKeys(catalog_, master_key_));
  const std::unique_ptr<content::Dictionaries> dictionaries =
      handlers::MakeDictionaries(catalog_, *keys);
  for (const auto& [id, known] : second_copies_) {
    const bool is_discarded = std::holds_alternative<std::monostate>(known.content);
    const absl::Status read =
        is_discarded ? absl::OkStatus()
                     : ReadAllOf({catalog_, blobs_, master_key_, *keys, *dictionaries}, known);
    if (Ends(read)) return read;
    if (read.ok()) {
      RETURN_IF_ERROR(catalog_.Run(
          [&, blob = id](Transaction& transaction) { return transaction.DropPendingBlob(blob); }));
    } else {
      Lose(absl::StrCat("blob ", ToHex(id), ", a copy of ", NameOf(known.version),
                        ", whose content cannot be read"),
           read);
    }
  }
  return absl::OkStatus();
}

// Nothing tells its name and its key: it is as one that never exchanged keys.
absl::Status Rebuild::AddClientOf(const storage::Version& version) {
  const auto known = catalog_.Read(
      [&](storage::Snapshot& snapshot) { return snapshot.FindClient(version.client_id); });
  if (!absl::IsNotFound(known.status())) return known.status();
  const auto in_trash = catalog_.Read(
      [&](storage::Snapshot& snapshot) { return snapshot.FindTrashedClient(version.client_id); });
  if (in_trash.ok()) return TakeClientBack(*in_trash, version);
  storage::Client client;
  client.id = version.client_id;
  client.name = absl::StrCat("recovered ", ToUuid(version.client_id));
  client.create_time = client.last_seen_time = version.receive_time;
  RETURN_IF_ERROR(
      catalog_.Run([&](Transaction& transaction) { return transaction.AddClient(client); }));
  ++report_.clients;
  return absl::OkStatus();
}

absl::Status Rebuild::TakeClientBack(const storage::Client& in_trash,
                                     const storage::Version& version) {
  if (in_trash.delete_time && version.receive_time <= *in_trash.delete_time)
    return absl::FailedPreconditionError("its client is in the trash");
  return catalog_
      .Run([&](Transaction& transaction) {
        return transaction.UndeleteClient(in_trash.id, storage::DuplicateNames::kAllow);
      })
      .status();
}

absl::Status Rebuild::SkipVersionIds() {
  return catalog_.Run([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t next, transaction.NextVersionId());
    if (next > last_version_id_) return absl::OkStatus();
    return transaction.ReserveVersionIds(last_version_id_ + 1 - next).status();
  });
}

// A catalog in use, and what opens what it tells of.
struct OpenState {
  storage::Catalog* catalog = nullptr;
  std::unique_ptr<handlers::KeyKeeper> keeper;
  std::unique_ptr<content::StoreKeys> keys;
  std::unique_ptr<content::Dictionaries> dictionaries;

  handlers::StoredPlaces Places(const storage::BlobStore& blobs) const {
    return {*catalog, blobs, keeper->ring(), *keys, *dictionaries};
  }
};

// Something that is not right: of which version, 0 if of none alone, and what is to be said of it.
struct Wrong {
  int64_t version_id = 0;
  std::string text;
};

Wrong WrongOf(const v1::VerifyFinding& finding) {
  return {finding.version_id(),
          absl::StrCat("version ", finding.version_id(), " of ", finding.file_name(), " of client ",
                       finding.client_id(), ": ", finding.detail())};
}

// Reads all of it; returns what is not right, as far as `report` would have room for it.
absl::StatusOr<std::vector<Wrong>> Check(const handlers::StoredPlaces& places,
                                         RebuildReport& report) {
  std::vector<Wrong> wrong;
  PieceBudget budget;
  RETURN_IF_ERROR(handlers::VerifyStore(
      places, budget, v1::VerifyStoreRequest(), [&](const v1::VerifyStoreResponse& event) {
        if (event.has_summary()) {
          report.checked_versions = event.summary().checked_versions();
          report.checked_bytes = event.summary().checked_bytes();
          report.damaged_versions = event.summary().damaged_versions();
        } else if (event.has_finding() && event.finding().kind() != v1::VerifyFinding::ORPHAN) {
          ++report.lost_count;
          if (wrong.size() < RebuildReport::kMaxLost) wrong.push_back(WrongOf(event.finding()));
        }
        return absl::OkStatus();
      }));
  // What is damaged is marked behind that.
  RETURN_IF_ERROR(places.catalog.Run([](Transaction&) { return absl::OkStatus(); }));
  return wrong;
}

// Whether a catalog may be begun with whatever snapshots of another master key have. An empty one
// would hide all that is in them.
absl::StatusOr<bool> IsBase(const absl::StatusOr<NewCatalog>& catalog, bool has_others) {
  if (!catalog.ok()) return false;
  if (!has_others) return true;
  ASSIGN_OR_RETURN(const bool is_empty, handlers::HoldsNothing(*catalog->catalog));
  return !is_empty;
}

// Those that the catalog and the file of generations have; the service makes both the same.
absl::StatusOr<std::unique_ptr<handlers::KeyKeeper>> ReadKeys(const HeldDataDir& data_dir,
                                                              storage::Catalog& catalog,
                                                              absl::Time now) {
  return handlers::KeyKeeper::Read(catalog, data_dir.master_keys.Copy(), data_dir.generations_file,
                                   now);
}

absl::StatusOr<OpenState> OpenStateOf(const HeldDataDir& data_dir, storage::Catalog& catalog,
                                      absl::Time now) {
  OpenState state;
  state.catalog = &catalog;
  ASSIGN_OR_RETURN(state.keeper, ReadKeys(data_dir, catalog, now));
  ASSIGN_OR_RETURN(state.keys, handlers::OpenStoreKeys(catalog, state.keeper->ring()));
  state.dictionaries = handlers::MakeDictionaries(catalog, *state.keys);
  return state;
}

// Heals what it can of `wrong` by a snapshot, and takes that out. Errors as of HealFromSnapshot().
absl::Status HealBy(const handlers::StoredPlaces& snapshot, const handlers::StoredPlaces& places,
                    std::vector<Wrong>& wrong, RebuildReport& report) {
  const storage::BlobLease lease{*OwnerId::FromBytes(crypto::RandomBytes(OwnerId::kSize)),
                                 absl::InfiniteFuture()};
  std::vector<Wrong> left;
  for (Wrong& each : wrong) {
    ASSIGN_OR_RETURN(const bool is_healed,
                     HealFromSnapshot(snapshot, places, lease, each.version_id));
    if (!is_healed) {
      left.push_back(std::move(each));
      continue;
    }
    ++report.healed;
    --report.lost_count;
    --report.damaged_versions;
  }
  wrong = std::move(left);
  return absl::OkStatus();
}

// Whether an older snapshot may yet have it. Of what is in blobs the newest that can be read tells
// as much as any.
bool MayBeInOlder(storage::Catalog& catalog, const Wrong& wrong) {
  if (wrong.version_id == 0) return false;
  const auto found = FindById(catalog, wrong.version_id);
  return found.ok() && *found && IsInCatalogAlone(catalog, **found);
}

// What the catalog alone had may be in snapshots as it was; also in one that is only believed to be
// of this store, as what it takes has the version's digest.
absl::Status Heal(const HeldDataDir& data_dir, const SnapshotChoice& choice,
                  const handlers::StoredPlaces& places, absl::Time now,
                  const StateListener& listener, std::vector<Wrong>& wrong, RebuildReport& report) {
  if (wrong.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<FoundSnapshot> found,
                   FindOwnSnapshots(data_dir, choice.folders));
  std::vector<Wrong> hopeless;
  for (const FoundSnapshot& each : found) {
    if (!each.readable.ok()) continue;
    absl::StatusOr<NewCatalog> snapshot =
        OpenSnapshot(data_dir, {choice.folders, each.path}, listener);
    if (ReasonOf(snapshot.status()) == Reason::kStorageFull) break;
    if (!snapshot.ok()) continue;
    const auto heal = [&]() -> absl::StatusOr<bool> {
      const auto state = OpenStateOf(data_dir, *snapshot->catalog, now);
      if (!state.ok()) return false;
      RETURN_IF_ERROR(HealBy(state->Places(places.blobs), places, wrong, report));
      return true;
    };
    const absl::StatusOr<bool> was_used = heal();
    DiscardCatalog(*std::move(snapshot));
    RETURN_IF_ERROR(was_used.status());
    if (!*was_used) continue;
    const auto rest = std::partition(wrong.begin(), wrong.end(), [&](const Wrong& one) {
      return MayBeInOlder(places.catalog, one);
    });
    std::move(rest, wrong.end(), std::back_inserter(hopeless));
    wrong.erase(rest, wrong.end());
    if (wrong.empty()) break;
  }
  std::move(hopeless.begin(), hopeless.end(), std::back_inserter(wrong));
  return absl::OkStatus();
}

// Whether nothing but the master key is needed for what it says of keys. If it is not so either
// they are damaged or the key is another one, which snapshots tell apart.
bool HasKeysThatOpen(const HeldDataDir& data_dir, storage::Catalog& catalog, absl::Time now) {
  const auto keeper = ReadKeys(data_dir, catalog, now);
  const absl::Status opened =
      keeper.ok() ? handlers::CheckKeyRing(catalog, (*keeper)->ring()) : keeper.status();
  return opened.ok() || ReasonOf(opened) == Reason::kKeyMissing;
}

// What it begins with.
absl::StatusOr<NewCatalog> OpenBase(const HeldDataDir& data_dir, const SnapshotChoice& choice,
                                    absl::Time now, const StateListener& listener) {
  if (!choice.path.empty()) return OpenSnapshot(data_dir, choice, listener);
  ASSIGN_OR_RETURN(const std::vector<FoundSnapshot> found,
                   FindOwnSnapshots(data_dir, choice.folders));
  int64_t next_version_id = 0;
  bool any_is_of_another_key = false;
  for (const FoundSnapshot& each : found) {
    const bool is_of_another_key = IsOfAnotherKey(each, data_dir.master_keys);
    any_is_of_another_key = any_is_of_another_key || is_of_another_key;
    if (each.readable.ok() || is_of_another_key)
      next_version_id = std::max(next_version_id, each.footer.next_version_id);
  }
  absl::StatusOr<NewCatalog> in_place = CopyCatalogInPlace(data_dir, next_version_id, now);
  if (!in_place.ok() && !absl::IsNotFound(in_place.status())) return in_place;
  ASSIGN_OR_RETURN(const bool is_base, IsBase(in_place, any_is_of_another_key));
  if (is_base && (found.empty() || HasKeysThatOpen(data_dir, *in_place->catalog, now)))
    return in_place;
  in_place = absl::NotFoundError("it is no base");  // Its file is in the way.
  return found.empty() ? MakeEmptyCatalog(data_dir) : OpenSnapshot(data_dir, choice, listener);
}

}  // namespace

absl::StatusOr<RebuildReport> RebuildState(const HeldDataDir& data_dir,
                                           const SnapshotChoice& choice, MissingKeys missing_keys,
                                           absl::Time now, const StateListener& listener) {
  RebuildReport report;
  std::unique_ptr<storage::BlobStore> blobs;
  {
    ASSIGN_OR_RETURN(NewCatalog base, OpenBase(data_dir, choice, now, listener));
    ASSIGN_OR_RETURN(blobs, OpenBlobs(data_dir.path, data_dir.blobs, *base.catalog));
    report.snapshot_path = base.snapshot_path;
    report.snapshot_time = base.snapshot_time;
    report.unreadable = std::move(base.unreadable);
    ASSIGN_OR_RETURN(const std::unique_ptr<handlers::KeyKeeper> keys,
                     ReadKeys(data_dir, *base.catalog, now));
    RETURN_IF_ERROR(
        Rebuild(*base.catalog, *blobs, keys->ring(), missing_keys, now, listener, report).Run());
    // With another key it is of no use.
    RETURN_IF_ERROR(handlers::OpenStoreKeys(*base.catalog, keys->ring()).status());
    RETURN_IF_ERROR(
        base.catalog->Run([](Transaction& transaction) { return transaction.ForgetPending(); }));
    listener("catalog is made");
  }
  ASSIGN_OR_RETURN(report.aside,
                   PutInPlace(data_dir, now, audit::kStateRebuilt, report.snapshot_path, listener));
  ASSIGN_OR_RETURN(const std::unique_ptr<storage::Catalog> catalog,
                   OpenCatalogFile(absl::StrCat(data_dir.path, "/", kCatalogName)));
  ASSIGN_OR_RETURN(const OpenState state, OpenStateOf(data_dir, *catalog, now));
  const handlers::StoredPlaces places = state.Places(*blobs);
  ASSIGN_OR_RETURN(std::vector<Wrong> wrong, Check(places, report));
  RETURN_IF_ERROR(Heal(data_dir, choice, places, now, listener, wrong, report));
  for (Wrong& each : wrong) {
    if (report.lost.size() < RebuildReport::kMaxLost) report.lost.push_back(std::move(each.text));
  }
  return report;
}

}  // namespace backup
