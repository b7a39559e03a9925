//! A double of a back end that says who can use its keys: a folder's, with what a test has it say. What AWS KMS really says is the
//! affair of the suite `aws-kms`.

use aegis_core::algorithm::{Algorithm, MessageType};
use aegis_core::id::RecordId;
use aegis_core::keystore::{Context, KeyStore, KeyStoreError, Material, VersionRef};
use aegis_core::name::ObjectName;
use aegis_core::survey::{Lockdown, ObjectState, Survey};
use aegis_keystores::folder::FolderKeyStore;
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// What the back end says; nothing at first, as a folder.
#[derive(Clone, Debug, Default)]
pub struct Said {
    survey: Arc<Mutex<Option<Result<Survey, &'static str>>>>,
    told: Arc<Mutex<Vec<(u32, bool)>>>,
    /// Of single objects, where it is another than the survey's.
    states: Arc<Mutex<HashMap<Vec<u8>, ObjectState>>>,
    /// The version of which it says that it is away.
    away: Arc<Mutex<Option<u32>>>,
}

impl Said {
    /// Which versions it was told to enable, or not to, since the last time this was asked.
    pub fn told(&self) -> Vec<(u32, bool)> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// Of all objects.
    pub fn say(&self, survey: Survey) {
        self.states.lock().unwrap().clear();
        *self.survey.lock().unwrap() = Some(Ok(survey));
    }

    /// Somebody disables one object there, or enables it.
    pub fn turn(&self, material: &Material, state: ObjectState) {
        self.states.lock().unwrap().insert(material.sealed.clone(), state);
    }

    /// It does not answer when it is told of this version.
    pub fn keep_silent_about(&self, version: Option<u32>) {
        *self.away.lock().unwrap() = version;
    }

    /// It does not answer.
    pub fn keep_silent(&self) {
        *self.survey.lock().unwrap() = Some(Err("it is away"));
    }
}

pub(crate) struct Telling {
    pub(crate) folder: FolderKeyStore,
    pub(crate) said: Said,
}

type Answer<T> = Result<T, KeyStoreError>;

#[async_trait]
impl KeyStore for Telling {
    fn check_create(&self, version: VersionRef<'_>) -> Answer<()> {
        self.folder.check_create(version)
    }

    async fn create(&self, version: VersionRef<'_>, token: &RecordId) -> Answer<Material> {
        self.folder.create(version, token).await
    }

    async fn undo(&self, token: &RecordId) -> Answer<()> {
        self.folder.undo(token).await
    }

    async fn import(
        &self,
        version: VersionRef<'_>,
        wrapping: VersionRef<'_>,
        material: &Material,
        wrapped: &[u8],
    ) -> Answer<Material> {
        self.folder.import(version, wrapping, material, wrapped).await
    }

    async fn register(&self, algorithm: Algorithm, object: &ObjectName) -> Answer<Material> {
        self.folder.register(algorithm, object).await
    }

    async fn destroy(&self, version: VersionRef<'_>, material: &Material) -> Answer<()> {
        self.folder.destroy(version, material).await
    }

    async fn sign(&self, v: VersionRef<'_>, material: &Material, kind: MessageType, message: &[u8]) -> Answer<Vec<u8>> {
        self.folder.sign(v, material, kind, message).await
    }

    async fn verify(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
        signature: &[u8],
    ) -> Answer<bool> {
        self.folder.verify(version, material, kind, message, signature).await
    }

    async fn mac(&self, version: VersionRef<'_>, material: &Material, message: &[u8]) -> Answer<Vec<u8>> {
        self.folder.mac(version, material, message).await
    }

    async fn verify_mac(&self, v: VersionRef<'_>, material: &Material, message: &[u8], mac: &[u8]) -> Answer<bool> {
        self.folder.verify_mac(v, material, message, mac).await
    }

    async fn encrypt(&self, v: VersionRef<'_>, material: &Material, context: &Context, text: &[u8]) -> Answer<Vec<u8>> {
        self.folder.encrypt(v, material, context, text).await
    }

    async fn decrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        ciphertext: &[u8],
    ) -> Answer<Zeroizing<Vec<u8>>> {
        self.folder.decrypt(version, material, context, ciphertext).await
    }

    fn version_of(&self, present: VersionRef<'_>, ciphertext: &[u8]) -> Answer<u32> {
        self.folder.version_of(present, ciphertext)
    }

    async fn set_enabled(&self, version: VersionRef<'_>, material: &Material, enabled: bool) -> Answer<()> {
        if let Some(Err(why)) = &*self.said.survey.lock().unwrap() {
            return Err(KeyStoreError::Unavailable { source: (*why).into() });
        }
        if *self.said.away.lock().unwrap() == Some(version.version) {
            return Err(KeyStoreError::Unavailable { source: "it is away".into() });
        }
        self.said.turn(material, if enabled { ObjectState::Enabled } else { ObjectState::Disabled });
        self.said.told.lock().unwrap().push((version.version, enabled));
        Ok(())
    }

    async fn survey(&self, material: &Material) -> Answer<Option<Survey>> {
        match self.said.survey.lock().unwrap().clone() {
            Some(Err(why)) => Err(KeyStoreError::Unavailable { source: why.into() }),
            said => {
                let state = self.said.states.lock().unwrap().get(&material.sealed).copied();
                let survey = said.and_then(Result::ok);
                Ok(survey.map(|survey| Survey { state: state.unwrap_or(survey.state), ..survey }))
            }
        }
    }

    async fn lockdown(&self, version: VersionRef<'_>, material: &Material) -> Answer<Lockdown> {
        self.folder.lockdown(version, material).await
    }

    fn random(&self, buffer: &mut [u8]) {
        self.folder.random(buffer);
    }
}
