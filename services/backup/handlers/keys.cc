#include "services/backup/handlers/keys.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/process.h"
#include "base/status_macros.h"
#include "content/blob_footer.h"
#include "content/chunk_seal.h"
#include "content/store_keys.h"
#include "glog/logging.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/key_retirement.h"
#include "services/backup/handlers/sealed_rows.h"
#include "services/backup/handlers/session_keys.h"

namespace backup::handlers {
namespace {

// With content, which may be large.
constexpr int kVersionsPage = 16;
// Of each kind that a verification opens.
constexpr int kSamples = 1000;
constexpr int kVersionSamples = 100;
// And looks at, at most, to find some that are not in packs.
constexpr int kVersionsToLookAt = 1000;

// Whether a version is kept outside packs, with a key of its own if it is sealed.
bool IsWhole(const storage::StoredVersion& stored) {
  return std::holds_alternative<std::string>(stored.content) ||
         std::holds_alternative<BlobId>(stored.content);
}

// Whether the key of one opens.
absl::Status OpenKeyOf(const content::BlobFooter& footer, const crypto::KeyRing& ring) {
  if (footer.form == storage::StorageForm::kPlain) return absl::OkStatus();
  return ring.Open(footer.wrapped_key, content::EncodeFooterFields(footer)).status();
}

// What each generation has sealed.
struct SealedCounts {
  std::map<uint32_t, int64_t> session_keys;
  std::map<uint32_t, int64_t> packs;
};

absl::StatusOr<SealedCounts> CountSealed(storage::Catalog& catalog, const crypto::KeyRing& ring) {
  SealedCounts counts;
  RETURN_IF_ERROR(VisitClients(catalog, [&](const storage::Client& client) {
    if (const auto generation = GenerationOfSessionKey(ring, client))
      ++counts.session_keys[*generation];
    return true;
  }));
  RETURN_IF_ERROR(VisitPacks(catalog, [&](const storage::PackInfo& pack) {
    if (!pack.wrapped_key.empty())
      ++counts.packs[content::GenerationOfPackKey(pack.wrapped_key, pack.blob_id, ring)];
    return true;
  }));
  return counts;
}

v1::KeyRetirement ToProto(const KeyRetirement& retirement) {
  v1::KeyRetirement told;
  told.set_phase(static_cast<v1::KeyRetirement::Phase>(retirement.phase));
  told.set_resealed_count(retirement.resealed);
  told.set_left_count(retirement.left);
  told.set_first_left(retirement.first_left);
  SetTime(retirement.progress_time, *told.mutable_progress_time());
  if (retirement.next_round_time != absl::InfinitePast())
    SetTime(retirement.next_round_time, *told.mutable_next_round_time());
  return told;
}

// Opens samples of all that is sealed with a ring that was made of what is kept.
class Verification {
 public:
  Verification(const StoredPlaces& places, const crypto::KeyRing& ring)
      : places_{places.catalog,    places.blobs,        ring,
                places.store_keys, places.dictionaries, places.chunk_cache} {}

  absl::StatusOr<std::vector<v1::KeySamples>> Run() {
    Note(v1::KeySamples::STORE_SECRET,
         content::StoreKeys::Open(places_.store_keys.sealed_secret(), places_.master_key).status());
    RETURN_IF_ERROR(OpenSessionKeys());
    RETURN_IF_ERROR(OpenPackKeys());
    RETURN_IF_ERROR(OpenVersions());
    std::vector<v1::KeySamples> all;
    for (auto& [kind, samples] : samples_) all.push_back(std::move(samples));
    return all;
  }

 private:
  v1::KeySamples& Of(v1::KeySamples::Kind kind) {
    v1::KeySamples& samples = samples_[kind];
    samples.set_kind(kind);
    return samples;
  }
  // Returns how many of the kind were tried.
  int64_t Note(v1::KeySamples::Kind kind, const absl::Status& opened) {
    v1::KeySamples& samples = Of(kind);
    if (opened.ok()) {
      samples.set_opened_count(samples.opened_count() + 1);
    } else {
      if (samples.failed_count() == 0) samples.set_first_error(std::string(opened.message()));
      samples.set_failed_count(samples.failed_count() + 1);
    }
    return samples.opened_count() + samples.failed_count();
  }

  void Skip(v1::KeySamples::Kind kind) {
    v1::KeySamples& samples = Of(kind);
    samples.set_skipped_count(samples.skipped_count() + 1);
  }

  absl::Status OpenSessionKeys() {
    Of(v1::KeySamples::SESSION_KEY);
    return VisitClients(places_.catalog, [this](const storage::Client& client) {
      return client.sealed_session_key.empty() ||
             Note(v1::KeySamples::SESSION_KEY,
                  OpenSessionKey(places_.master_key, client).status()) < kSamples;
    });
  }

  absl::Status OpenPackKeys() {
    Of(v1::KeySamples::PACK_KEY);
    return VisitPacks(places_.catalog, [this](const storage::PackInfo& pack) {
      return pack.wrapped_key.empty() ||
             Note(v1::KeySamples::PACK_KEY,
                  content::OpenPackKey(pack.wrapped_key, pack.blob_id, places_.master_key)
                      .status()) < kSamples;
    });
  }

  absl::Status OpenVersions() {
    Of(v1::KeySamples::VERSION);
    int64_t after = 0;
    for (int seen = 0; seen < kVersionsToLookAt; seen += kVersionsPage) {
      ASSIGN_OR_RETURN(const std::vector<storage::StoredVersion> page,
                       places_.catalog.Read([&](storage::Snapshot& snapshot) {
                         return snapshot.ScanVersions(after, kVersionsPage);
                       }));
      if (page.empty()) return absl::OkStatus();
      for (const storage::StoredVersion& stored : page) {
        if (!IsWhole(stored)) continue;
        const absl::StatusOr<content::BlobFooter> footer = FooterOf(places_.blobs, stored);
        // Whatever keys there are, nothing is known of one that is damaged or missing.
        if (!footer.ok() || stored.version.is_damaged) {
          Skip(v1::KeySamples::VERSION);
        } else if (Note(v1::KeySamples::VERSION, OpenKeyOf(*footer, places_.master_key)) >=
                   kVersionSamples) {
          return absl::OkStatus();
        }
      }
      after = page.back().version.version_id;
    }
    return absl::OkStatus();
  }

  const StoredPlaces places_;
  std::map<v1::KeySamples::Kind, v1::KeySamples> samples_;
};

// With one more that is to go; if it is already, with the next round at once.
KeyRetirement WithOne(KeyRetirement retirement, uint32_t generation, absl::Time now) {
  const bool waits = retirement.next_round_time != absl::InfinitePast();
  const bool is_new = retirement.generations.insert(generation).second;
  if (is_new) {
    retirement.rounds = retirement.left = 0;
    retirement.first_left.clear();
    retirement.progress_time = now;
  }
  // What was sealed anew for others may be sealed by this one.
  if (is_new || waits) retirement.BeginRound();
  return retirement;
}

// What was left may have been of this one alone.
KeyRetirement WithoutOne(KeyRetirement retirement, uint32_t generation) {
  if (retirement.generations.erase(generation) == 0) return retirement;
  if (retirement.generations.empty()) return {};
  retirement.BeginRound();
  return retirement;
}

}  // namespace

absl::StatusOr<content::BlobFooter> FooterOf(const storage::BlobStore& blobs,
                                             const storage::StoredVersion& stored) {
  if (const auto* bytes = std::get_if<std::string>(&stored.content))
    return content::ReadFooter(StringAccess(*bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> blob,
                   blobs.Open(std::get<BlobId>(stored.content)));
  return content::ReadFooter(*blob);
}

absl::Status CheckOwnKey(storage::Catalog& catalog, const storage::BlobStore& blobs,
                         const crypto::KeyRing& ring, int64_t version_id) {
  ASSIGN_OR_RETURN(const std::vector<storage::StoredVersion> found,
                   catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ScanVersions(version_id - 1, /*limit=*/1);
                   }));
  if (found.empty() || found.front().version.version_id != version_id || !IsWhole(found.front()))
    return absl::OkStatus();
  ASSIGN_OR_RETURN(const content::BlobFooter footer, FooterOf(blobs, found.front()));
  return OpenKeyOf(footer, ring);
}

absl::StatusOr<v1::ListKeysResponse> ListKeys(storage::Catalog& catalog, const KeyKeeper& keeper) {
  const crypto::KeyRing& ring = keeper.ring();
  v1::ListKeysResponse response;
  ASSIGN_OR_RETURN(const KeyRetirement retirement,
                   catalog.Read([&](storage::Snapshot& snapshot) -> absl::StatusOr<KeyRetirement> {
                     ASSIGN_OR_RETURN(const bool is_unreadable, IsRetirementUnreadable(snapshot));
                     response.set_retirement_is_unreadable(is_unreadable);
                     return FindRetirement(snapshot);
                   }));
  ASSIGN_OR_RETURN(SealedCounts counts, CountSealed(catalog, ring));
  const std::string current = keeper.master_keys().current->Fingerprint();
  response.set_master_key_fingerprint(current);
  for (const crypto::KeyGeneration& generation : keeper.generations()) {
    v1::KeyGeneration& listed = *response.add_generations();
    listed.set_number(generation.number);
    SetTime(generation.create_time, *listed.mutable_create_time());
    listed.set_master_key_fingerprint(generation.master_key_fingerprint);
    listed.set_is_rewrapped(generation.master_key_fingerprint == current);
    listed.set_is_newest(generation.number == ring.newest());
    listed.set_session_key_count(counts.session_keys[generation.number]);
    listed.set_pack_count(counts.packs[generation.number]);
    listed.set_is_retiring(retirement.generations.contains(generation.number));
  }
  if (!retirement.generations.empty()) *response.mutable_retirement() = ToProto(retirement);
  return response;
}

absl::StatusOr<v1::RotateKeyResponse> RotateKey(KeyKeeper& keeper, const Clock& clock,
                                                const BackUpState& back_up_state,
                                                const KeyKeeper::Change& also) {
  ASSIGN_OR_RETURN(const crypto::KeyGeneration made, keeper.Rotate(clock.Now(), also));
  LOG_CRITICAL << "key generation " << made.number << " seals from now on";
  // Those from before do not have it.
  const absl::Status snapshot = back_up_state().status();
  if (!snapshot.ok()) {
    return WithMessage(snapshot,
                       absl::StrCat("key generation ", made.number,
                                    " seals from now on, but no snapshot of the state has it: keep "
                                    "a copy of key.generations, and take one by `backupctl state "
                                    "backup`: ",
                                    snapshot.message()));
  }
  v1::RotateKeyResponse response;
  response.set_newest_generation(made.number);
  return response;
}

absl::StatusOr<v1::RetireKeyResponse> RetireKey(storage::Catalog& catalog, const KeyKeeper& keeper,
                                                const Clock& clock,
                                                const v1::RetireKeyRequest& request) {
  const uint32_t generation = request.generation();
  if (!request.has_generation() || !keeper.ring().Has(generation)) {
    return MakeError(Reason::kInvalidField, "there is no such generation: `backupctl key list`",
                     "generation");
  }
  if (generation == keeper.ring().newest()) {
    return MakeError(Reason::kInvalidField,
                     "this generation seals what comes: `backupctl key rotate` first",
                     "generation");
  }
  ASSIGN_OR_RETURN(
      const KeyRetirement retirement,
      catalog.Run([&](storage::Transaction& transaction) -> absl::StatusOr<KeyRetirement> {
        ASSIGN_OR_RETURN(const KeyRetirement before, FindRetirement(transaction));
        const KeyRetirement after = request.cancel() ? WithoutOne(before, generation)
                                                     : WithOne(before, generation, clock.Now());
        if (after != before) RETURN_IF_ERROR(SaveRetirement(transaction, after));
        return after;
      }));
  v1::RetireKeyResponse response;
  for (const uint32_t number : retirement.generations) response.add_retiring(number);
  return response;
}

absl::StatusOr<v1::RewrapKeysResponse> RewrapKeys(const StoredPlaces& places, KeyKeeper& keeper,
                                                  const Clock& clock,
                                                  const BackUpState& back_up_state,
                                                  const v1::RewrapKeysRequest& request,
                                                  const KeyKeeper::Change& also) {
  ASSIGN_OR_RETURN(const int rewrapped, keeper.Rewrap(clock.Now(), also));
  const std::string fingerprint = keeper.master_keys().current->Fingerprint();
  LOG_CRITICAL << rewrapped << " key generations were wrapped anew, all are under the master key "
               << fingerprint;
  v1::RewrapKeysResponse response;
  response.set_rewrapped_count(rewrapped);
  response.set_newest_generation(*keeper.ring().newest());
  response.set_master_key_fingerprint(fingerprint);
  // Those from before take the old master key, and when it is gone there must be others.
  const absl::StatusOr<v1::BackUpStateResponse> snapshot = back_up_state();
  if (!snapshot.ok()) {
    return WithMessage(snapshot.status(),
                       absl::StrCat("all generations are under the master key ", fingerprint,
                                    ", but a snapshot of the state cannot be taken, so keep the "
                                    "old master key and do this again: ",
                                    snapshot.status().message()));
  }
  *response.mutable_snapshot_paths() = snapshot->paths();
  if (!request.verify()) return response;
  crypto::KeyRing ring;
  RETURN_IF_ERROR(keeper.ReadAlone(ring));
  ASSIGN_OR_RETURN(const std::vector<v1::KeySamples> all, Verification(places, ring).Run());
  for (const v1::KeySamples& samples : all) *response.add_samples() = samples;
  return response;
}

}  // namespace backup::handlers
