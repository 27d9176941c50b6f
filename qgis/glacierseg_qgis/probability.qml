<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="singlebandpseudocolor" opacity="1" alphaBand="-1" band="1" classificationMin="0" classificationMax="1">
      <rastershader>
        <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" minimumValue="0" maximumValue="1" clip="0">
          <item value="0" label="0" color="#00224e" alpha="255" />
          <item value="0.25" label="0.25" color="#434e6c" alpha="255" />
          <item value="0.5" label="0.5" color="#7d7c78" alpha="255" />
          <item value="0.75" label="0.75" color="#bcae6c" alpha="255" />
          <item value="1" label="1" color="#00234f" alpha="255" />
        </colorrampshader>
      </rastershader>
    </rasterrenderer>
  </pipe>
</qgis>
