#include "services/backup/handlers/key_keeper.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "content/store_keys.h"
#include "crypto/random.h"
#include "glog/logging.h"
#include "services/backup/handlers/sealed_rows.h"
#include "services/backup/handlers/session_keys.h"

namespace backup::handlers {
namespace {

using crypto::KeyGeneration;
using crypto::MasterKeys;

using Generations = std::vector<KeyGeneration>;

constexpr uint32_t kMaxNumber = std::numeric_limits<uint32_t>::max();

absl::StatusOr<std::optional<std::string>> FindValue(storage::Catalog& catalog,
                                                     absl::string_view name) {
  return catalog.Read(
      [&](storage::Snapshot& snapshot) { return snapshot.FindStoreValue(std::string(name)); });
}

// 0 if the catalog does not say it.
absl::StatusOr<uint32_t> ReadLastNumber(storage::Snapshot& snapshot) {
  ASSIGN_OR_RETURN(const std::optional<std::string> value,
                   snapshot.FindStoreValue(KeyKeeper::kLastName));
  uint32_t number = 0;
  if (!value || absl::SimpleAtoi(*value, &number)) return number;
  return MakeError(Reason::kStateCorrupt,
                   "the catalog: the number of the last key generation is none");
}

// One generation that the catalog and the file have, maybe under different master keys.
absl::StatusOr<KeyGeneration> Choose(const KeyGeneration& one, const KeyGeneration& other,
                                     const MasterKeys& master_keys) {
  if (one == other) return one;
  const crypto::MasterKey* const ones = master_keys.Find(one.master_key_fingerprint);
  const crypto::MasterKey* const others = master_keys.Find(other.master_key_fingerprint);
  // If neither is known that is said of whichever it is.
  if (ones == nullptr) return other;
  if (others == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "key generation ", other.number,
        " in the file of key generations is under another master "
        "key (",
        other.master_key_fingerprint,
        ") than in the catalog: if the file is another "
        "store's, give each its own (--key_generations_file); if it is an older copy, move it "
        "away; if it is newer, start with that master key"));
  }
  ASSIGN_OR_RETURN(const SecretBytes key, crypto::UnwrapGeneration(one, *ones));
  ASSIGN_OR_RETURN(const SecretBytes other_key, crypto::UnwrapGeneration(other, *others));
  if (key != other_key) {
    return absl::FailedPreconditionError(
        absl::StrCat("the catalog's key generation ", one.number,
                     " is another than that in the file of key generations: if the catalog is "
                     "right, move the file away"));
  }
  return others == master_keys.current.get() ? other : one;
}

absl::StatusOr<Generations> Merge(const Generations& in_catalog, const Generations& in_file,
                                  const MasterKeys& master_keys) {
  std::map<uint32_t, KeyGeneration> merged;
  for (const KeyGeneration& generation : in_catalog) merged[generation.number] = generation;
  for (const KeyGeneration& generation : in_file) {
    const auto [place, added] = merged.try_emplace(generation.number, generation);
    if (added) continue;
    ASSIGN_OR_RETURN(place->second, Choose(place->second, generation, master_keys));
  }
  Generations generations;
  for (auto& [number, generation] : merged) generations.push_back(std::move(generation));
  return generations;
}

absl::StatusOr<Generations> Parse(const std::string& text, absl::string_view place,
                                  absl::string_view advice) {
  absl::StatusOr<Generations> parsed = crypto::ParseGenerations(text);
  if (parsed.ok()) return parsed;
  return WithMessage(parsed.status(), absl::StrCat(place, ": ", parsed.status().message(), advice));
}

bool AllAreUnder(const Generations& generations, absl::string_view fingerprint) {
  return std::all_of(generations.begin(), generations.end(), [&](const KeyGeneration& each) {
    return each.master_key_fingerprint == fingerprint;
  });
}

}  // namespace

absl::Status CheckKeyRing(storage::Catalog& catalog, const crypto::KeyRing& ring) {
  ASSIGN_OR_RETURN(const std::optional<std::string> secret,
                   FindValue(catalog, content::StoreKeys::kName));
  if (!secret) return CheckMasterKey(catalog, ring);
  const absl::Status opened = content::StoreKeys::Open(*secret, ring).status();
  if (opened.ok() || ReasonOf(opened) == Reason::kKeyMissing) return opened;
  return absl::FailedPreconditionError("the store's secret is sealed under another master key");
}

absl::StatusOr<bool> HoldsNothing(storage::Catalog& catalog) {
  ASSIGN_OR_RETURN(const storage::Counts counts,
                   catalog.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }));
  return counts.clients == 0 && counts.versions == 0 && counts.packs == 0 &&
         counts.trash_clients == 0 && counts.trash_versions == 0;
}

absl::Status SkipGenerations(storage::Transaction& transaction, absl::Time now) {
  ASSIGN_OR_RETURN(const uint32_t last, ReadLastNumber(transaction));
  const int64_t seconds = std::clamp<int64_t>(absl::ToUnixSeconds(now), 0, kMaxNumber - 1);
  return transaction.SetStoreValue(KeyKeeper::kLastName,
                                   absl::StrCat(std::max<int64_t>(last, seconds)));
}

absl::StatusOr<std::unique_ptr<KeyKeeper>> KeyKeeper::Read(storage::Catalog& catalog,
                                                           MasterKeys master_keys,
                                                           const std::string& path,
                                                           absl::Time now) {
  auto keeper = absl::WrapUnique(new KeyKeeper(catalog, std::move(master_keys), path));
  RETURN_IF_ERROR(keeper->Load(now));
  // What is sealed in a new store now is what an older program would have sealed.
  if (!keeper->ring_.newest())
    keeper->ring_.Add(0, std::string(keeper->master_keys_.current->bytes()));
  return keeper;
}

absl::StatusOr<std::unique_ptr<KeyKeeper>> KeyKeeper::Open(storage::Catalog& catalog,
                                                           MasterKeys master_keys,
                                                           const std::string& path,
                                                           absl::Time now) {
  auto keeper = absl::WrapUnique(new KeyKeeper(catalog, std::move(master_keys), path));
  RETURN_IF_ERROR(keeper->Load(now));
  MutexLock lock(keeper->change_mutex_);
  const Generations generations = keeper->generations();
  if (generations.empty()) {
    ASSIGN_OR_RETURN(KeyGeneration first, keeper->NewGeneration(now));
    RETURN_IF_ERROR(keeper->Keep({std::move(first)}));
    return keeper;
  }
  RETURN_IF_ERROR(keeper->CheckFits());
  const std::string text = crypto::EncodeGenerations(generations);
  if (text != keeper->in_file_) {
    const absl::Status written = keeper->WriteFile(text);
    LOG_IF(ERROR, !written.ok()) << "the keys of this store are in its catalog alone: "
                                 << written.message()
                                 << " (--key_generations_file says where it is)";
  }
  if (text != keeper->in_catalog_ || keeper->last_number_ < generations.back().number) {
    RETURN_IF_ERROR(keeper->KeepInCatalog(text));
  }
  return keeper;
}

absl::Status KeyKeeper::Load(absl::Time now) {
  ASSIGN_OR_RETURN(const std::optional<std::string> value,
                   FindValue(catalog_, crypto::kKeyGenerationsName));
  in_catalog_ = value.value_or("");
  ASSIGN_OR_RETURN(const uint32_t last_number, catalog_.Read(ReadLastNumber));
  {
    MutexLock lock(change_mutex_);
    last_number_ = last_number;
  }
  absl::StatusOr<std::string> file = crypto::ReadGenerationsFile(path_);
  const bool has_file = file.ok();
  // It may have what the catalog has not, so nothing is written over it.
  if (!has_file && !absl::IsNotFound(file.status())) return file.status();
  Generations in_file;
  if (has_file) {
    ASSIGN_OR_RETURN(in_file, Parse(*file, path_,
                                    ": restore it from a copy, or, if the catalog has all of them, "
                                    "move it away"));
  }
  absl::StatusOr<Generations> in_catalog = Generations();
  if (!in_catalog_.empty())
    in_catalog =
        Parse(in_catalog_, "the catalog", "; nor is there a file " + path_ + ": restore that");
  if (!in_catalog.ok()) {
    if (in_file.empty()) return in_catalog.status();
    damaged_in_catalog_ = std::exchange(in_catalog_, "");
    LOG(ERROR) << in_catalog.status().message() << "; those in " << path_ << " are taken";
    in_catalog = Generations();
  }
  if (has_file) in_file_ = *std::move(file);
  ASSIGN_OR_RETURN(Generations generations, Merge(*in_catalog, in_file, master_keys_));
  if (generations.empty()) return Adopt(now);
  RETURN_IF_ERROR(crypto::AddGenerations(generations, master_keys_, ring_));
  const bool has_seen_generations = value || last_number != 0;
  RETURN_IF_ERROR(AdoptBeside(now, has_seen_generations, generations));
  MutexLock lock(mutex_);
  generations_ = std::move(generations);
  return absl::OkStatus();
}

absl::StatusOr<bool> KeyKeeper::IsNew() const {
  ASSIGN_OR_RETURN(const bool holds_nothing, HoldsNothing(catalog_));
  if (!holds_nothing) return false;
  // Nothing that is sealed opens without a key.
  const absl::Status sealed = CheckKeyRing(catalog_, crypto::KeyRing());
  if (absl::IsFailedPrecondition(sealed)) return false;
  RETURN_IF_ERROR(sealed);
  return true;
}

absl::Status KeyKeeper::Adopt(absl::Time now) {
  ASSIGN_OR_RETURN(const bool is_new, IsNew());
  if (is_new) return absl::OkStatus();
  ASSIGN_OR_RETURN(const crypto::MasterKey* const key, FindFirst());
  ring_.Add(0, std::string(key->bytes()));
  MutexLock lock(mutex_);
  generations_ = {crypto::WrapGeneration(0, now, key->bytes(), *key)};
  return absl::OkStatus();
}

absl::Status KeyKeeper::AdoptBeside(absl::Time now, bool has_seen_generations,
                                    Generations& generations) {
  if (generations.front().number == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<std::string> secret,
                   FindValue(catalog_, content::StoreKeys::kName));
  // Then it is not by generation 0 that one tells what fits.
  if (secret && content::StoreKeys::GenerationOf(*secret, ring_) != 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool holds_nothing, HoldsNothing(catalog_));
  ASSIGN_OR_RETURN(const auto named, NamedGenerations(catalog_, ring_));
  // What a program kept whole that had neither a secret nor generations is sealed by 0, too, and no
  // row says so.
  const bool may_hold_more = !secret && !has_seen_generations && !holds_nothing;
  if (!named.contains(0) && !may_hold_more) return absl::OkStatus();
  const absl::StatusOr<const crypto::MasterKey*> key = FindFirst();
  if (!key.ok()) return ToldOfKeys(key.status());
  ring_.Add(0, std::string((*key)->bytes()));
  // Nothing has tried it: it may be another, which is given later.
  if (!named.contains(0)) return absl::OkStatus();
  generations.insert(generations.begin(), crypto::WrapGeneration(0, now, (*key)->bytes(), **key));
  return absl::OkStatus();
}

absl::StatusOr<const crypto::MasterKey*> KeyKeeper::FindFirst() const {
  std::vector<const crypto::MasterKey*> candidates = {master_keys_.current.get()};
  for (const auto& old : master_keys_.old) candidates.push_back(old.get());
  for (const crypto::MasterKey* const key : candidates) {
    const absl::Status fits = CheckKeyRing(catalog_, crypto::KeyRing(std::string(key->bytes())));
    if (absl::IsFailedPrecondition(fits) && !ReasonOf(fits)) continue;
    RETURN_IF_ERROR(fits);
    return key;
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "what is kept is sealed under another master key than ", master_keys_.origin,
      ": restore that, or give it as --old_master_key_file; if it is the right one the "
      "catalog is damaged: run `backupctl state rebuild`"));
}

absl::Status KeyKeeper::CheckFits() const {
  absl::Status fits = CheckKeyRing(catalog_, ring_);
  if (fits.ok()) fits = CheckMasterKey(catalog_, ring_);
  if (!absl::IsFailedPrecondition(fits) || ReasonOf(fits)) return ToldOfKeys(fits);
  return ToldOfKeys(WithMessage(
      fits, absl::StrCat(fits.message(), " than ", master_keys_.origin,
                         ": restore that; if it is the right one the catalog is damaged: run "
                         "`backupctl state rebuild`")));
}

absl::Status KeyKeeper::ToldOfKeys(const absl::Status& error) const {
  const bool is_of_keys = absl::IsFailedPrecondition(error) &&
                          ReasonOf(error).value_or(Reason::kKeyMissing) == Reason::kKeyMissing;
  if (!is_of_keys) return error;
  std::string message(error.message());
  if (!in_file_.empty() && in_file_ != in_catalog_) {
    absl::StrAppend(&message, ", or, if ", path_,
                    " is another store's, or of another time, move it away");
  }
  return WithMessage(error, message);
}

absl::Status KeyKeeper::CheckNoneIsMissing() const {
  ASSIGN_OR_RETURN(const auto named, NamedGenerations(catalog_, ring_));
  for (const auto& [number, what] : named) {
    if (ring_.Has(number)) continue;
    return MakeError(
        Reason::kKeyMissing,
        absl::StrCat(what, " is sealed by key generation ", number,
                     ", which is missing, so no other is made: restore ", path_,
                     ", or, if it is lost for ever, delete that client, unless it calls again, or "
                     "the versions that `backupctl verify` names, and empty the trash"));
  }
  return absl::OkStatus();
}

absl::Status KeyKeeper::CheckFileIsOurs() {
  const absl::StatusOr<std::string> now = crypto::ReadGenerationsFile(path_);
  if (absl::IsNotFound(now.status())) {
    tried_.clear();
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(now.status());
  // What else was tried is not there.
  std::erase_if(tried_, [&](const std::string& each) { return each != *now; });
  if (*now == in_file_ || !tried_.empty()) return absl::OkStatus();
  return MakeError(
      Reason::kKeyChangeRefused,
      absl::StrCat("somebody else has written ", path_,
                   ": if it is another store's, give each its own (--key_generations_file); else "
                   "restart the service, which reads it"));
}

absl::Status KeyKeeper::CheckFile() {
  RETURN_IF_ERROR(CheckFileIsOurs());
  return WriteFile(crypto::EncodeGenerations(generations()));
}

absl::Status KeyKeeper::WriteFile(const std::string& text) {
  tried_.push_back(text);
  const absl::Status written = crypto::WriteGenerationsFile(path_, text);
  if (written.ok()) {
    tried_.clear();
    MutexLock lock(mutex_);
    in_file_ = text;
    return written;
  }
  return MakeError(absl::IsResourceExhausted(written) ? Reason::kStorageFull : Reason::kStorageIo,
                   written.message());
}

Generations KeyKeeper::generations() const {
  MutexLock lock(mutex_);
  return generations_;
}

bool KeyKeeper::IsRewrapped() const {
  return AllAreUnder(generations(), master_keys_.current->Fingerprint());
}

bool KeyKeeper::IsInFile() const {
  MutexLock lock(mutex_);
  return in_file_ == crypto::EncodeGenerations(generations_);
}

absl::StatusOr<KeyGeneration> KeyKeeper::NewGeneration(absl::Time now) {
  const uint32_t last = std::max(last_number_, ring_.newest().value_or(0));
  if (last == kMaxNumber)
    return MakeError(Reason::kKeyChangeRefused, "there are no more numbers for key generations");
  last_number_ = last + 1;
  const SecretBytes key = crypto::RandomBytes(crypto::Aead::kKeySize);
  return crypto::WrapGeneration(last_number_, now, key, *master_keys_.current);
}

absl::Status KeyKeeper::KeepInCatalog(const std::string& text, const Change& also) {
  const std::string last = absl::StrCat(std::max(last_number_, ring_.newest().value_or(0)));
  return catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
    if (!damaged_in_catalog_.empty())
      RETURN_IF_ERROR(transaction.SetStoreValue(kDamagedName, damaged_in_catalog_));
    RETURN_IF_ERROR(transaction.SetStoreValue(kLastName, last));
    RETURN_IF_ERROR(also(transaction));
    return transaction.SetStoreValue(std::string(crypto::kKeyGenerationsName), text);
  });
}

bool KeyKeeper::CameToKeep(const std::string& text) const {
  if (text == crypto::EncodeGenerations(generations())) return false;
  const auto in_catalog = FindValue(catalog_, crypto::kKeyGenerationsName);
  return in_catalog.ok() && *in_catalog == text;
}

absl::Status KeyKeeper::Keep(Generations generations, const Change& also) {
  if (generations.size() > crypto::kMaxKeyGenerations) {
    return MakeError(Reason::kKeyChangeRefused,
                     absl::StrCat("there are ", crypto::kMaxKeyGenerations,
                                  " key generations already: `backupctl key retire` lets old ones "
                                  "go"));
  }
  const std::string text = crypto::EncodeGenerations(generations);
  RETURN_IF_ERROR(CheckFileIsOurs());
  RETURN_IF_ERROR(WriteFile(text));
  const absl::Status kept = KeepInCatalog(text, also);
  if (!kept.ok() && !CameToKeep(text)) return kept;
  for (const KeyGeneration& generation : generations) {
    if (ring_.Has(generation.number)) continue;
    ASSIGN_OR_RETURN(SecretBytes key, UnwrapGeneration(generation, *master_keys_.current));
    ring_.Add(generation.number, std::move(key));
  }
  MutexLock lock(mutex_);
  generations_ = std::move(generations);
  return absl::OkStatus();
}

absl::StatusOr<KeyGeneration> KeyKeeper::Rotate(absl::Time now, const Change& also) {
  const std::string current = master_keys_.current->Fingerprint();
  MutexLock lock(change_mutex_);
  Generations generations = this->generations();
  if (!AllAreUnder(generations, current)) {
    return MakeError(
        Reason::kKeyChangeRefused,
        "key generations are still sealed under an old master key: `backupctl key rewrap` first");
  }
  RETURN_IF_ERROR(CheckFile());
  RETURN_IF_ERROR(CheckNoneIsMissing());
  ASSIGN_OR_RETURN(const KeyGeneration made, NewGeneration(now));
  generations.push_back(made);
  RETURN_IF_ERROR(Keep(std::move(generations), also));
  return made;
}

absl::StatusOr<int> KeyKeeper::Rewrap(absl::Time now, const Change& also) {
  const crypto::MasterKey& current = *master_keys_.current;
  const std::string fingerprint = current.Fingerprint();
  MutexLock lock(change_mutex_);
  Generations generations = this->generations();
  int wrapped = 0;
  for (KeyGeneration& generation : generations) {
    if (generation.master_key_fingerprint == fingerprint) continue;
    generation = crypto::WrapGeneration(generation.number, generation.create_time,
                                        ring_.KeyOf(generation.number), current);
    ++wrapped;
  }
  // What comes from now on is none of the old master key's business.
  if (ring_.newest() == 0u && ring_.KeyOf(0) != current.bytes()) {
    RETURN_IF_ERROR(CheckFile());
    RETURN_IF_ERROR(CheckNoneIsMissing());
    ASSIGN_OR_RETURN(KeyGeneration made, NewGeneration(now));
    generations.push_back(std::move(made));
  }
  RETURN_IF_ERROR(Keep(std::move(generations), also));
  return wrapped;
}

absl::StatusOr<std::string> KeyKeeper::Remove(const std::set<uint32_t>& numbers,
                                              const Change& also) {
  MutexLock lock(change_mutex_);
  RETURN_IF_ERROR(CheckFile());
  std::set<uint32_t> gone = numbers;
  if (const std::optional<uint32_t> newest = ring_.newest()) gone.erase(*newest);
  ASSIGN_OR_RETURN(const auto named, catalog_.Read([this](storage::Snapshot& snapshot) {
    return NamedGenerations(snapshot, ring_);
  }));
  for (const auto& [number, what] : named) {
    if (gone.contains(number)) return what;
  }
  Generations left = generations();
  std::erase_if(left, [&](const KeyGeneration& each) { return gone.contains(each.number); });
  const std::string before = crypto::EncodeGenerations(generations());
  const absl::Status kept = Keep(std::move(left), also);
  // Then they stay in force.
  if (!kept.ok() && in_file_ != before) {
    absl::Status written = CheckFileIsOurs();
    if (written.ok()) written = WriteFile(before);
    LOG_IF(ERROR, !written.ok()) << "generations of keys that were to go, and stay, are in the "
                                    "catalog alone: "
                                 << written.message();
  }
  RETURN_IF_ERROR(kept);
  for (const uint32_t number : gone) ring_.Remove(number);
  return std::string();
}

absl::Status KeyKeeper::ReadAlone(crypto::KeyRing& ring) const {
  MutexLock lock(change_mutex_);
  const Generations generations = this->generations();
  ASSIGN_OR_RETURN(const std::optional<std::string> in_catalog,
                   FindValue(catalog_, crypto::kKeyGenerationsName));
  ASSIGN_OR_RETURN(const std::string in_file, crypto::ReadGenerationsFile(path_));
  if (in_catalog != in_file || in_file != crypto::EncodeGenerations(generations)) {
    return MakeError(Reason::kKeyChangeRefused,
                     absl::StrCat("the catalog and ", path_,
                                  " do not have the same key generations: rewrap them"));
  }
  for (const KeyGeneration& generation : generations) {
    const absl::StatusOr<SecretBytes> key = UnwrapGeneration(generation, *master_keys_.current);
    if (!key.ok() || *key != ring_.KeyOf(generation.number)) {
      return MakeError(Reason::kKeyChangeRefused,
                       absl::StrCat("key generation ", generation.number, " does not open with ",
                                    master_keys_.origin, " alone: rewrap it"));
    }
    ring.Add(generation.number, *key);
  }
  return absl::OkStatus();
}

}  // namespace backup::handlers
