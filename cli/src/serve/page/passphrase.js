
// The login at the local issuer.
byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  during(event.target, async () => {
    const proof = { human: byId("human").value.trim(), passphrase: byId("passphrase").value };
    byId("passphrase").value = "";
    token = undefined;
    const login = await call("POST", "/local/token", proof);
    await enter(login.id_token);
  });
});
