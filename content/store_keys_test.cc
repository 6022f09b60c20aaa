#include "content/store_keys.h"

#include <set>

#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using storage::StorageForm;

using testing::HasReason;
using testing::PseudoRandomBytes;

const crypto::KeyRing& Master() {
  static const auto* const key = new crypto::KeyRing(PseudoRandomBytes(32));
  return *key;
}

ClientId Client(char c) { return *ClientId::FromBytes(std::string(ClientId::kSize, c)); }
ChunkId Chunk(char c) { return *ChunkId::FromBytes(std::string(ChunkId::kSize, c)); }

TEST(StoreKeys, AreTheSameEachTimeTheSecretIsOpened) {
  const std::string sealed = StoreKeys::NewSealedSecret(Master());
  const auto keys = StoreKeys::Open(sealed, Master());
  const auto again = StoreKeys::Open(sealed, Master());
  ASSERT_OK(keys);
  ASSERT_OK(again);
  EXPECT_EQ((*keys)->sealed_secret(), sealed);
  EXPECT_EQ((*keys)->gear(), (*again)->gear());
  for (size_t i = 0; i < 4; ++i) {
    const ChunkIdKey one = (*keys)->IdKeysOf(Client('a'))[i];
    const ChunkIdKey other = (*again)->IdKeysOf(Client('a'))[i];
    EXPECT_EQ(one.digest_key, other.digest_key);
    EXPECT_EQ(one.scope_key, other.scope_key);
  }
  EXPECT_EQ((*keys)->InlineKey(Chunk('a')), (*again)->InlineKey(Chunk('a')));
}

TEST(StoreKeys, AreAllDifferent) {
  const auto keys = StoreKeys::Open(StoreKeys::NewSealedSecret(Master()), Master());
  const auto other = StoreKeys::Open(StoreKeys::NewSealedSecret(Master()), Master());
  ASSERT_OK(keys);
  ASSERT_OK(other);
  std::set<std::string> all;
  for (const auto* const of : {keys->get(), other->get()}) {
    for (const SecretBytes& key :
         {of->IdKey(StorageForm::kPlain).digest_key, of->IdKey(StorageForm::kPlain).scope_key,
          of->IdKey(StorageForm::kSealed).scope_key,
          of->IdKey(StorageForm::kPlain, Client('a')).scope_key,
          of->IdKey(StorageForm::kPlain, Client('b')).scope_key,
          of->IdKey(StorageForm::kSealed, Client('a')).scope_key, of->InlineKey(Chunk('a')),
          of->InlineKey(Chunk('b')), of->DictionaryKey()}) {
      EXPECT_EQ(key.size(), 32);
      EXPECT_TRUE(all.insert(std::string(absl::string_view(key))).second);
    }
  }
  std::set<uint64_t> gear((*keys)->gear().begin(), (*keys)->gear().end());
  gear.insert((*other)->gear().begin(), (*other)->gear().end());
  EXPECT_EQ(gear.size(), 512);
}

TEST(StoreKeys, AreNotOpenedIfTheSecretWasChangedOrIsAnothers) {
  const std::string sealed = StoreKeys::NewSealedSecret(Master());
  for (size_t at = 0; at < sealed.size(); ++at) {
    std::string changed = sealed;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_THAT(StoreKeys::Open(changed, Master()), HasReason(Reason::kBlobDamaged)) << at;
  }
  EXPECT_THAT(StoreKeys::Open("", Master()), HasReason(Reason::kBlobDamaged));
  const crypto::KeyRing other(PseudoRandomBytes(32, 2));
  EXPECT_THAT(StoreKeys::Open(sealed, other), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(StoreKeys::Open(Master().Seal(std::string(32, 's'), "a client"), Master()),
              HasReason(Reason::kBlobDamaged));
}

}  // namespace
}  // namespace backup::content
