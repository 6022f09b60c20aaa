#include "content/store_keys.h"

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/aead.h"
#include "crypto/hkdf.h"
#include "crypto/random.h"
#include "crypto/sha256.h"

namespace backup::content {
namespace {

constexpr size_t kSecretSize = 32;
constexpr size_t kIdKeySize = 32;

// What each key is derived for; none is the beginning of another with what follows it. Ids of all
// chunks that are kept follow from them: never change one.
constexpr absl::string_view kSealing = "backup store secret";
constexpr absl::string_view kGear = "backup chunk ends";
constexpr absl::string_view kDigests = "backup chunk digests";
constexpr absl::string_view kPlainIds = "backup ids of plain chunks";
constexpr absl::string_view kSealedIds = "backup ids of sealed chunks";
constexpr absl::string_view kOfClient = " of client ";
constexpr absl::string_view kInline = "backup inline chunk ";
constexpr absl::string_view kDictionaries = "backup dictionaries";
constexpr absl::string_view kAudit = "backup audit log";

GearTable DeriveGear(absl::string_view secret) {
  GearTable gear = {};
  const std::string bytes = crypto::Hkdf(secret, kGear, gear.size() * sizeof(uint64_t));
  for (size_t i = 0; i < bytes.size(); ++i)
    gear[i / 8] |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * (i % 8));
  return gear;
}

}  // namespace

std::string StoreKeys::NewSealedSecret(const crypto::KeyRing& master_key) {
  return master_key.Seal(SecretBytes(crypto::RandomBytes(kSecretSize)), kSealing);
}

absl::StatusOr<std::unique_ptr<StoreKeys>> StoreKeys::Open(absl::string_view sealed_secret,
                                                           const crypto::KeyRing& master_key) {
  ASSIGN_OR_RETURN(SecretBytes secret, master_key.Open(sealed_secret, kSealing));
  return absl::WrapUnique(new StoreKeys(std::string(sealed_secret), std::move(secret)));
}

std::string StoreKeys::Reseal(const crypto::KeyRing& master_key) const {
  return master_key.Seal(secret_, kSealing);
}

uint32_t StoreKeys::GenerationOf(absl::string_view sealed_secret,
                                 const crypto::KeyRing& master_key) {
  return master_key.GenerationOf(sealed_secret, kSealing);
}

absl::Status StoreKeys::SetSealedSecret(const std::string& sealed_secret,
                                        const crypto::KeyRing& master_key) {
  ASSIGN_OR_RETURN(const SecretBytes secret, master_key.Open(sealed_secret, kSealing));
  if (secret != secret_)
    return MakeError(Reason::kBlobDamaged, "the catalog's secret is another store's");
  MutexLock lock(mutex_);
  sealed_secret_ = sealed_secret;
  return absl::OkStatus();
}

StoreKeys::StoreKeys(std::string sealed_secret, SecretBytes secret)
    : sealed_secret_(std::move(sealed_secret)),
      secret_(std::move(secret)),
      digest_key_(crypto::Hkdf(secret_, kDigests, kIdKeySize)),
      gear_(DeriveGear(secret_)) {}

ChunkIdKey StoreKeys::IdKey(storage::StorageForm form,
                            const std::optional<ClientId>& client) const {
  std::string scope(form == storage::StorageForm::kSealed ? kSealedIds : kPlainIds);
  if (client) absl::StrAppend(&scope, kOfClient, client->bytes());
  return {digest_key_, crypto::Hkdf(secret_, scope, kIdKeySize)};
}

std::vector<ChunkIdKey> StoreKeys::IdKeysOf(const ClientId& client) const {
  std::vector<ChunkIdKey> keys;
  for (const auto form : {storage::StorageForm::kPlain, storage::StorageForm::kSealed}) {
    keys.push_back(IdKey(form));
    keys.push_back(IdKey(form, client));
  }
  return keys;
}

SecretBytes StoreKeys::InlineKey(const ChunkId& id) const {
  return crypto::Hkdf(secret_, absl::StrCat(kInline, id.bytes()), crypto::Aead::kKeySize);
}

SecretBytes StoreKeys::DictionaryKey() const {
  return crypto::Hkdf(secret_, kDictionaries, crypto::Aead::kKeySize);
}

SecretBytes StoreKeys::AuditKey() const {
  return crypto::Hkdf(secret_, kAudit, crypto::kSha256Size);
}

}  // namespace backup::content
